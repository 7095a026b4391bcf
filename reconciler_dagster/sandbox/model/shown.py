"""What formulas make of cells, and what the API shows of a formula's result."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from reconciler_dagster.sandbox.formulas import values
from reconciler_dagster.sandbox.formulas.values import Value
from reconciler_dagster.sandbox.model.cells import tidy_number
from reconciler_dagster.sandbox.model.forms import TEXT


def shown_value(value: Value) -> Any:
    """Return a formula's result as the API shows it (Airtable facts §8)."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            return {"specialValue": "NaN"}
        if math.isinf(value):
            return {"specialValue": "Infinity" if value > 0 else "-Infinity"}
        return tidy_number(value)
    if isinstance(value, datetime):
        return values.moment_text(value)
    if isinstance(value, list):
        return [shown_value(item) for item in value] or None
    return value


def _same(cell: Any) -> Value:
    return cell


def _float(cell: Any) -> Value:
    return None if cell is None else float(cell)


def _moment(cell: Any) -> Value:
    return None if cell is None else values.parse_moment(cell)


def _named(cell: Any) -> Value:
    return None if cell is None else cell.get("name") or cell.get("email")


def _attached(cell: Any) -> Value:
    return [f"{file['filename']} ({file['url']})" for file in cell or ()]


# By type of field.
OPERANDS: dict[str, Callable[[Any], Value]] = {
    **dict.fromkeys(TEXT, _same),
    **dict.fromkeys(("number", "currency", "percent", "duration", "rating", "autoNumber"), _float),
    **dict.fromkeys(("date", "dateTime"), _moment),
    "singleSelect": _same,
    "multipleSelects": lambda cell: list(cell or ()),
    "checkbox": bool,
    "singleCollaborator": _named,
    "multipleCollaborators": lambda cell: [_named(one) for one in cell or ()],
    "multipleAttachments": _attached,
    "barcode": lambda cell: cell["text"] if cell else None,
    "aiText": lambda cell: cell["value"] if cell else None,
}
