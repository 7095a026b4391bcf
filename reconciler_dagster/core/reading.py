"""Whole rows through the codecs: canonical values, and by column why a cell cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler_dagster.core.codecs import Codec
from reconciler_dagster.core.fields import FieldMap, MappedField
from reconciler_dagster.core.together import as_one
from reconciler_dagster.core.values import UNKNOWN, Directory, Unreadable, Value

Row = dict[str, Value]
Problems = dict[str, str]


def from_airtable(
    cells: Mapping[str, Any], fields: FieldMap, users: Directory
) -> tuple[Row, Problems]:
    """Airtable cells keyed by column, a tuple of those of several fields, of which the first that
    is not empty counts; an absent key is an empty cell, for it was asked for.
    """
    row: Row = {}
    problems: Problems = {}
    for mapped in fields:
        cell = cells.get(mapped.column)
        try:
            if isinstance(cell, tuple):
                row[mapped.column] = _first(cell, mapped.codec, users)
            else:
                row[mapped.column] = mapped.codec.from_airtable(cell, users)
        except Unreadable as why:
            problems[mapped.column] = f"{mapped.airtable} {why}"
    as_one(row, problems, fields)
    return row, problems


def _first(cells: tuple[Any, ...], codec: Codec, users: Directory) -> Value:
    for cell in cells:
        if (value := codec.from_airtable(cell, users)) != codec.blank:
            return value
    return codec.from_airtable(None, users)


def from_postgres(
    columns: Mapping[str, Any], fields: FieldMap, users: Directory
) -> tuple[Row, Problems]:
    """Columns as Postgres' ``to_jsonb`` gives them."""
    row: Row = {}
    problems: Problems = {}
    for mapped in fields:
        value = columns[mapped.column]
        try:
            if value is not None:
                _require_text(value)
            row[mapped.column] = mapped.codec.from_postgres(value, users)
        except Unreadable as why:
            problems[mapped.column] = f"{mapped.column} {why}"
    as_one(row, problems, fields)
    return row, problems


def refuse(
    row: Row, problems: Problems, fields: FieldMap, why_not: Callable[[str], str | None]
) -> None:
    """Take out of a row the texts that the other side cannot store. ``why_not``: the reason of one
    text; None where it can be stored.
    """
    for mapped in fields:
        for text in _texts(row.get(mapped.column)):
            if (why := why_not(text)) is not None:
                del row[mapped.column]
                problems[mapped.column] = f"{mapped.airtable} {why}"
                break
    as_one(row, problems, fields)


def _texts(value: Value) -> list[str]:
    """The texts in a value."""
    if isinstance(value, str):
        return [value]
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []


def _require_text(value: Value) -> None:
    """Raise Unreadable for bytes that are no text, which a database without encoding may hold."""
    if isinstance(value, str) and value.isascii():  # nearly all; there are millions
        return
    for text in _texts(value):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unreadable(
                "holds bytes that are no UTF-8, in a database that checks none: write it again"
            ) from None


def held(columns: Mapping[str, Any], mapped: MappedField, users: Directory) -> Value:
    """What a lead holds in a field, to be compared with what was agreed on; a value that cannot be
    read is not what was agreed on.
    """
    if mapped.of is not None and columns.get(mapped.of, UNKNOWN) is None:
        return mapped.codec.blank
    try:
        return mapped.codec.from_postgres(columns.get(mapped.column), users)
    except Unreadable:
        return columns.get(mapped.column)


def differing(
    columns: Mapping[str, Any], agreed: Row, fields: FieldMap, users: Directory
) -> Iterator[str]:
    """The columns of a lead that do not hold what was agreed on; of the others nothing is known."""
    for mapped in fields:
        if mapped.fills:  # the portal's own value stands beside what was agreed on
            continue
        if mapped.column in agreed and held(columns, mapped, users) != agreed[mapped.column]:
            yield mapped.column
