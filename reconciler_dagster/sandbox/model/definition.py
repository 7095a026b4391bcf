"""Defining fields: options completed, formulas checked and kept with field ids (facts §7)."""

from typing import Any

from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.inference import DATE, NUMBER, TEXT, result_kind
from reconciler_dagster.sandbox.formulas.syntax import parse, references, rewrite_references
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.schema import CHOICE_COLOURS, Field
from reconciler_dagster.sandbox.model.table import Table

MOMENT = {
    "dateFormat": {"name": "iso", "format": "YYYY-MM-DD"},
    "timeFormat": {"name": "24hour", "format": "HH:mm"},
    "timeZone": "utc",
}
DAY_ONLY = {"dateFormat": {"name": "iso", "format": "YYYY-MM-DD"}}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "number": {"precision": 0},
    "percent": {"precision": 0},
    "currency": {"precision": 2, "symbol": "$"},
    "duration": {"durationFormat": "h:mm"},
    "rating": {"icon": "star", "max": 5, "color": "yellowBright"},
    "checkbox": {"icon": "check", "color": "greenBright"},
    "date": DAY_ONLY,
    "dateTime": MOMENT,
    "createdTime": {"result": {"type": "dateTime", "options": MOMENT}},
    "lastModifiedTime": {
        "isValid": True,
        "referencedFieldIds": None,
        "result": {"type": "dateTime", "options": MOMENT},
    },
    "multipleAttachments": {"isReversed": False},
}

_RESULTS: dict[str, dict[str, Any]] = {
    NUMBER: {"type": "number", "options": {"precision": 0}},
    DATE: {"type": "dateTime", "options": MOMENT},
}


def complete_options(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a new field: what was given over Airtable's defaults."""
    options = {**_DEFAULTS.get(kind, {}), **given}
    if kind in ("singleSelect", "multipleSelects"):
        options["choices"] = [
            {
                "id": choice.get("id") or new_id("sel"),
                "name": choice["name"],
                "color": choice.get("color") or choice_colour(index),
            }
            for index, choice in enumerate(given.get("choices", ()))
        ]
    return options


def choice_colour(index: int) -> str:
    """Return the colour of a select's n-th option."""
    return CHOICE_COLOURS[index % len(CHOICE_COLOURS)]


def set_formula(table: Table, field: Field, text: str) -> None:
    """Give a formula field its formula. Raises InvalidFormula."""
    node = parse(text)
    compile_formula(node, table.resolve)
    mentioned = [table.resolve(name) or name for name in references(node)]
    field.options.update(
        isValid=True,
        formula=rewrite_references(text, lambda name: table.resolve(name) or name),
        referencedFieldIds=list(dict.fromkeys(mentioned)),
        result=_RESULTS.get(
            result_kind(node, lambda name: _kind(table, name)), {"type": "singleLineText"}
        ),
    )
    table.schema_changed()


def _kind(table: Table, name: str) -> str:
    field = table.find(name)
    kind = field.type if field else ""
    if field and "result" in field.options:
        kind = (field.options["result"] or {}).get("type", kind)
    if kind in ("date", "dateTime"):
        return DATE
    if kind in (
        "number",
        "currency",
        "percent",
        "duration",
        "rating",
        "count",
        "autoNumber",
        "checkbox",
    ):
        return NUMBER
    return TEXT
