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
    DateTime,
    Flag,
    Integer,
    Text,
    Unchecked,
)
from reconciler_dagster.core.dates import Date
from reconciler_dagster.core.fields import MappedField
from reconciler_dagster.core.links import Link, Links
from reconciler_dagster.core.lists import Attachments, CommaList, Lookup, MultiSelect
from reconciler_dagster.core.normal import form_of, pick
from reconciler_dagster.core.numbers import Decimal
from reconciler_dagster.core.people import UserEmail

# Fields that nobody can write.
COMPUTED = frozenset(
    {
        "formula",
        "rollup",
        "count",
        "multipleLookupValues",
        "createdTime",
        "lastModifiedTime",
        "autoNumber",
        "createdBy",
        "lastModifiedBy",
        "button",
        "aiText",
    }
)
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
    Unchecked: ("bool",),
    Decimal: (*_WHOLE, "numeric"),
    Date: ("date", "timestamptz"),
    MultiSelect: ("_text", "_varchar", "jsonb"),
    Lookup: ("_text", "_varchar", "jsonb", *_TEXTS),
    Attachments: ("jsonb",),
    Link: ("uuid", "int4", "int8", *_TEXTS),
    Links: ("_uuid", "_text", "_varchar", "_int4", "_int8", "jsonb"),
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


@dataclass(frozen=True)
class Column:
    """A column of a table in Postgres' catalogue. ``limit``: characters of a varchar or char.

    ``type``: as Postgres names it inside (``int4``, ``_text``), ``user-defined`` for one that is
    not built in; None is not looked at. ``digits``, ``scale``: of a numeric, ``digits`` also of the
    seconds of a timestamp. ``generated``: Postgres alone fills it. ``sql_type``: as a statement
    names it; ``domain``: name of the domain that it is of. ``is_filled``: the engine fills it of a
    new row, whatever is mapped.
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
    domain: str | None = None
    is_filled: bool = False

    @property
    def may_be_left_out(self) -> bool:
        """Whether a new row can do without a value of ours."""
        return self.nullable or self.has_default or self.generated


def loss(mapped: MappedField, found: AirtableField, column: Column, table: str) -> str | None:
    """What the pair would lose and what to do about it; None where it loses nothing. ``table``: its
    name, for people.
    """
    if not found.valid:
        return "what it is computed from is gone in Airtable; mend it there"
    return _of_values(mapped.codec, found) or column_loss(mapped.codec, column, table)


def _of_values(codec: Codec, found: AirtableField) -> str | None:
    kind = found.holds or found.type
    if isinstance(codec, Lookup):
        return None
    counts = isinstance(codec, Integer | Flag | Decimal)
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


def column_loss(codec: Codec, column: Column, table: str) -> str | None:
    """What the column would lose of whatever a field of this codec holds."""
    expected = _COLUMNS.get(type(codec))
    if column.type is None or expected is None:
        return None
    name = f"{table}.{column.name}"
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
        options = found.choices or ()
        fits = replace(
            codec,
            limit=column.limit,
            form=form,
            padded=padded,
            # What the field has an option for by now needs nothing in its place.
            on_write={v: w for v, w in codec.on_write.items() if pick(v, options) is None},
            blank_cell=pick(str(codec.blank), options) if codec.blank else None,
        )
        return replace(mapped, codec=fits)
    if isinstance(codec, Integer):
        return replace(mapped, codec=replace(codec, limit=_limit(codec, column)))
    if isinstance(codec, Decimal):
        return replace(mapped, codec=_cut(codec, column))
    if isinstance(codec, Date):
        return replace(mapped, codec=replace(codec, moments=column.type != "date"))
    if isinstance(codec, Lookup):
        return replace(mapped, codec=replace(codec, joined=column.type in _TEXTS))
    return mapped


def _cut(codec: Decimal, column: Column) -> Decimal:
    """What a column takes of decimals and digits."""
    if column.type == "numeric" and column.digits is not None:
        scale = column.scale or 0
        return replace(codec, scale=scale, digits=min(codec.digits, max(0, column.digits - scale)))
    return replace(codec, scale=None if column.type in ("numeric", "float4", "float8") else 0)


def _limit(codec: Integer, column: Column) -> int:
    if column.type == "numeric":
        digits = None if column.digits is None else column.digits - (column.scale or 0)
        return _EXACT if digits is None else min(_EXACT, 10 ** max(0, digits))
    return _WHOLE.get(column.type or "", codec.limit)


def too_long(found: AirtableField, column: Column) -> list[str]:
    """Options that the column cannot hold: their cells will be refused."""
    limit = column.limit
    return [c for c in found.choices or () if limit is not None and len(c) > limit]
