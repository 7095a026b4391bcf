"""Defining fields: options completed, formulas checked and kept with field ids (facts §7)."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

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


def _is_zone(value: Any) -> bool:
    if value in ("utc", "client"):
        return True
    try:
        return isinstance(value, str) and bool(ZoneInfo(value))
    except (KeyError, ValueError, OSError):
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_format(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(one) for one in value.values())


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "precision": lambda value: value in range(9),
    "max": lambda value: value in range(1, 11),
    "timeZone": _is_zone,
    "dateFormat": _is_format,
    "timeFormat": _is_format,
    "referencedFieldIds": lambda v: v is None or (isinstance(v, list) and all(map(_is_text, v))),
    "result": lambda value: value is None or isinstance(value, dict),
    **dict.fromkeys(
        (
            "symbol",
            "durationFormat",
            "label",
            "formula",
            "recordLinkFieldId",
            "fieldIdInLinkedTable",
            "linkedTableId",
            "inverseLinkFieldId",
        ),
        _is_text,
    ),
}


def complete_options(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a new field: what was given over Airtable's defaults.

    Raises ValueError for an option of the wrong kind.
    """
    for name, value in given.items():
        if name in _CHECKS and not _CHECKS[name](value):
            raise ValueError(f"Option {name} cannot be {value!r}.")
    options = {**_DEFAULTS.get(kind, {}), **given}
    if kind in ("singleSelect", "multipleSelects"):
        choices = given.get("choices", [])
        if not isinstance(choices, list) or not all(
            isinstance(one, dict) and isinstance(one.get("name"), str) for one in choices
        ):
            raise ValueError("Each choice needs a name.")
        options["choices"] = [
            {
                "id": choice.get("id") or new_id("sel"),
                "name": choice["name"],
                "color": choice.get("color") or choice_colour(index),
            }
            for index, choice in enumerate(choices)
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
    field = table.fields.get(table.resolve(name) or "")
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
