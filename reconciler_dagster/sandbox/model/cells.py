"""What a cell of each type accepts, and the form in which it is kept (Airtable facts §8).

A cell is kept as the API shows it. None stands for an empty cell, which the API leaves out.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.formulas.values import (
    MAX_TEXT,
    FormulaError,
    moment_text,
    number_text,
    parse_moment,
)
from reconciler_dagster.sandbox.model.forms import TEXT, kept_text
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.switches import Switches


class Unacceptable(Exception):
    """The field does not take this value."""


def tidy_number(amount: float) -> float | int:
    """Write 5.0 as 5, as JSON from Airtable does."""
    if isinstance(amount, float) and amount.is_integer() and abs(amount) < 1e15:
        return int(amount)
    return amount


def _text(field: Field, value: Any, typecast: bool) -> Any:
    if typecast and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = number_text(float(value))
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Unacceptable
    return value or None


def _number(field: Field, value: Any, typecast: bool) -> Any:
    if typecast and isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = float(re.sub(r"[,$€£%\s]", "", value)) / (100 if "%" in value else 1)
        except ValueError:
            raise Unacceptable from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unacceptable
    return tidy_number(value)


def _rating(field: Field, value: Any, typecast: bool) -> Any:
    stars = _number(field, value, typecast)
    if not isinstance(stars, int) or not 0 <= stars <= field.options.get("max", 10):
        raise Unacceptable
    return stars or None


def _checkbox(field: Field, value: Any, typecast: bool) -> Any:
    if typecast and not isinstance(value, bool):
        value = str(value).strip().lower() in ("true", "1", "yes", "checked", "1.0")
    if not isinstance(value, bool):
        raise Unacceptable
    return value or None


def _moment(field: Field, value: Any) -> datetime:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return parse_moment(iso(int(value)))
        if not isinstance(value, str) or not value.strip():
            raise Unacceptable
        moment = parse_moment(value)
        zone = field.options.get("timeZone", "utc")
        zoned = re.search(r"(Z|[+-]\d\d:?\d\d)$", value.strip(), re.IGNORECASE)
        if field.type == "dateTime" and not zoned and zone not in ("utc", "client"):
            return moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        return moment
    except (FormulaError, ValueError, OverflowError, OSError, KeyError):
        raise Unacceptable from None


def _date(field: Field, value: Any, typecast: bool) -> Any:
    return _moment(field, value).date().isoformat()


def _date_time(field: Field, value: Any, typecast: bool) -> Any:
    return moment_text(_moment(field, value))


def _barcode(field: Field, value: Any, typecast: bool) -> Any:
    if typecast and isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise Unacceptable
    kept = {key: value[key] for key in ("text", "type") if isinstance(value.get(key), str)}
    return kept if kept["text"] else None


Accept = Callable[[Field, Any, bool], Any]

PLAIN: dict[str, Accept] = {
    **dict.fromkeys(TEXT, _text),
    "number": _number,
    "currency": _number,
    "percent": _number,
    "duration": _number,
    "rating": _rating,
    "checkbox": _checkbox,
    "date": _date,
    "dateTime": _date_time,
    "barcode": _barcode,
}
"""The types whose cells need to know nothing but the field. Each raises Unacceptable."""


def accept_plain(field: Field, value: Any, typecast: bool, switches: Switches) -> Any:
    """Return what a cell of a type in `PLAIN` keeps, None for nothing. Raises Unacceptable."""
    accepted = PLAIN[field.type](field, value, typecast)
    if field.type in TEXT and accepted is not None:
        return kept_text(field.type, accepted, switches) or None
    return accepted
