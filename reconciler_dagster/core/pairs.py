"""Whether an Airtable field and a Postgres column can hold the same values. Pure.

A pair that would lose something is refused as a whole. What only some values do not survive (a
number out of range, a text too long) is left to the codec, which refuses those cells alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler_dagster.core.codecs import (
    Checkbox,
    Choice,
    Codec,
    CommaList,
    DateTime,
    Flag,
    Integer,
    Text,
    UserEmail,
)
from reconciler_dagster.core.fields import MappedField
from reconciler_dagster.core.normal import form_of

NUMBERS = frozenset({"number", "percent", "currency", "rating", "duration", "count", "autoNumber"})
# Whole numbers that JSON carries without loss.
_EXACT = 2**53
_TEXTS = ("text", "varchar", "bpchar", "user-defined")
_WHOLE = {"int2": 2**15, "int4": 2**31, "int8": _EXACT, "float4": 2**24, "float8": _EXACT}
_COLUMNS: dict[type[Codec], tuple[str, ...]] = {
    Text: _TEXTS,
    Choice: _TEXTS,
    Integer: (*_WHOLE, "numeric"),
    Checkbox: ("bool",),
    Flag: ("bool",),
    DateTime: ("timestamptz",),
    UserEmail: ("uuid", *_TEXTS),
    CommaList: ("_text", "_varchar"),
}
_MILLISECONDS = 3


@dataclass(frozen=True)
class AirtableField:
    """A field of Airtable's metadata. ``choices``: option names of a select, else None.

    ``holds``: the type of a computed field's values, as far as Airtable says. ``precision``:
    decimals of a number. ``valid``: False where what it is computed from is gone.
    """

    id: str
    name: str
    type: str
    choices: tuple[str, ...] | None = None
    holds: str | None = None
    precision: int | None = None
    valid: bool = True


# What a lead is known by; the engine fills these of a new one.
KEYS = ("id", "client_id", "airtable_record_id")
# When its record was created, where it is a date or a moment.
CREATED_AT = "created_at"


@dataclass(frozen=True)
class Column:
    """A column of ``leads`` in Postgres' catalogue. ``limit``: characters of a varchar or char.

    ``type``: as Postgres names it inside (``int4``, ``_text``), ``user-defined`` for one that is
    not built in; None is not looked at. ``digits``, ``scale``: of a numeric, ``digits`` also of the
    seconds of a timestamp. ``generated``: Postgres alone fills it. ``sql_type``: as a statement
    names it; ``is_moment``: a date, or a date and time. ``domain``: name of the domain that it is
    of.
    """

    name: str
    limit: int | None
    nullable: bool
    type: str | None = None
    digits: int | None = None
    scale: int | None = None
    has_default: bool = False
    generated: bool = False
    sql_type: str = "text"
    is_moment: bool = False
    domain: str | None = None

    @property
    def may_be_left_out(self) -> bool:
        """Whether a new lead can do without a value of ours."""
        return self.nullable or self.has_default or self.generated

    @property
    def is_filled(self) -> bool:
        """Whether the engine fills it of a new lead, whatever is mapped."""
        return self.name in KEYS or (self.name == CREATED_AT and self.is_moment)


def loss(mapped: MappedField, found: AirtableField, column: Column) -> str | None:
    """What the pair would lose and what to do about it; None where it loses nothing."""
    if not found.valid:
        return "what it is computed from is gone in Airtable; mend it there"
    return _of_values(mapped.codec, found) or column_loss(mapped.codec, column)


def _of_values(codec: Codec, found: AirtableField) -> str | None:
    kind = found.holds or found.type
    counts = isinstance(codec, Integer | Flag)
    if found.holds and counts != (kind in NUMBERS or kind == "checkbox"):
        expected = "numbers" if counts else "times" if isinstance(codec, DateTime) else "texts"
        return f"it gives values of type {kind}, expected {expected}"
    if isinstance(codec, Integer) and kind == "percent":
        return "it holds parts of 1, shown as percent, and the column whole numbers"
    if isinstance(codec, Integer) and found.precision and not codec.rounds:
        return f"it has {found.precision} decimals and the column none; set its precision to 0"
    if isinstance(codec, DateTime) and kind == "date" and not codec.days:
        return "it holds days, and the column moments; give it a time"
    return None


def column_loss(codec: Codec, column: Column) -> str | None:
    """What the column would lose of whatever a field of this codec holds."""
    expected = _COLUMNS.get(type(codec))
    if column.type is None or expected is None:
        return None
    name = f"leads.{column.name}"
    if column.type not in expected:
        return f"{name} is of type {column.type}, expected {' or '.join(expected)}"
    short = column.digits is not None and column.digits < _MILLISECONDS
    if isinstance(codec, DateTime) and short:
        return f"{name} keeps no milliseconds; make it timestamptz without a precision"
    return None


def fitted(mapped: MappedField, found: AirtableField, column: Column) -> MappedField:
    """The field with its codec cut to what this field and this column really hold."""
    codec = mapped.codec
    if isinstance(codec, Text):
        form, padded = form_of(found.type, found.choices), column.type == "bpchar"
        return replace(mapped, codec=replace(codec, limit=column.limit, form=form, padded=padded))
    if isinstance(codec, Integer):
        return replace(mapped, codec=replace(codec, limit=_limit(codec, column)))
    return mapped


def _limit(codec: Integer, column: Column) -> int:
    if column.type == "numeric":
        digits = None if column.digits is None else column.digits - (column.scale or 0)
        return _EXACT if digits is None else min(_EXACT, 10 ** max(0, digits))
    return _WHOLE.get(column.type or "", codec.limit)


def too_long(found: AirtableField, column: Column) -> list[str]:
    """Options that the column cannot hold: their cells will be refused."""
    limit = column.limit
    return [c for c in found.choices or () if limit is not None and len(c) > limit]
