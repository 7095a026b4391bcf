from __future__ import annotations

from typing import Any

import pytest

from reconciler_dagster.core.codecs import (
    Checkbox,
    Choice,
    DateTime,
    Flag,
    Integer,
    Text,
)
from reconciler_dagster.core.fields import MappedField
from reconciler_dagster.core.lists import CommaList
from reconciler_dagster.core.pairs import AirtableField, Column, fitted, loss, too_long
from reconciler_dagster.core.people import UserEmail


def pair(codec: Any, field: AirtableField, column: Column) -> str | None:
    return loss(MappedField("Field", "column", (field.type,), codec), field, column, "leads")


def airtable(type_: str, **more: Any) -> AirtableField:
    return AirtableField("fld1", "Field", type_, **more)


def postgres(type_: str, limit: int | None = None, **more: Any) -> Column:
    return Column("column", limit, True, type_, **more)


@pytest.mark.parametrize(
    ("codec", "field", "column"),
    [
        (Text(), airtable("singleLineText"), postgres("varchar", 255)),
        (Text(), airtable("richText"), postgres("text")),
        (Text(), airtable("singleSelect", choices=("A",)), postgres("user-defined")),
        (Text(), airtable("formula", holds="singleLineText"), postgres("bpchar", 20)),
        (Integer(), airtable("number", precision=0), postgres("int4")),
        (Integer(), airtable("count"), postgres("int2")),
        (Integer(), airtable("rating"), postgres("numeric", digits=10, scale=2)),
        (Integer(rounds=True), airtable("formula", holds="number", precision=3), postgres("int4")),
        (Flag(), airtable("formula", holds="number", precision=0), postgres("bool")),
        (Checkbox(), airtable("checkbox"), postgres("bool")),
        (DateTime(days=False), airtable("dateTime"), postgres("timestamptz", digits=6)),
        (DateTime(), airtable("date"), postgres("timestamptz", digits=3)),
        (DateTime(), airtable("lastModifiedTime", holds="date"), postgres("timestamptz")),
        (UserEmail(), airtable("email"), postgres("uuid")),
        (CommaList(), airtable("multilineText"), postgres("_text")),
        (Text(), airtable("email"), Column("column", 255, True)),  # its type is not known
    ],
)
def test_a_pair_that_loses_nothing(codec: Any, field: AirtableField, column: Column) -> None:
    assert pair(codec, field, column) is None


@pytest.mark.parametrize(
    ("codec", "field", "column", "why"),
    [
        (Integer(), airtable("percent", precision=0), postgres("int4"), "parts of 1"),
        (Integer(rounds=True), airtable("percent"), postgres("int4"), "parts of 1"),
        (Integer(), airtable("rollup", holds="percent"), postgres("int4"), "parts of 1"),
        (Integer(), airtable("number", precision=1), postgres("int4"), "1 decimals"),
        (Integer(), airtable("formula", holds="number", precision=2), postgres("int4"), "2 decim"),
        (Integer(), airtable("formula", holds="singleLineText"), postgres("int4"), "numbers"),
        (Integer(), airtable("number"), postgres("bool"), "of type bool"),
        (Integer(), airtable("number"), postgres("text"), "of type text"),
        (Text(), airtable("formula", holds="number"), postgres("text"), "expected texts"),
        (Text(), airtable("singleLineText"), postgres("_text"), "of type _text"),
        (Text(), airtable("singleLineText"), postgres("int4"), "of type int4"),
        (Text(), airtable("formula", valid=False), postgres("text"), "is gone in Airtable"),
        (DateTime(days=False), airtable("date"), postgres("timestamptz"), "holds days"),
        (DateTime(), airtable("formula", holds="number"), postgres("timestamptz"), "times"),
        (DateTime(), airtable("dateTime"), postgres("timestamp"), "of type timestamp"),
        (DateTime(), airtable("dateTime"), postgres("date"), "of type date"),
        (DateTime(), airtable("dateTime"), postgres("timestamptz", digits=0), "milliseconds"),
        (Checkbox(), airtable("checkbox"), postgres("int4"), "of type int4"),
        (Flag(), airtable("number"), postgres("int2"), "of type int2"),
        (Choice(portal_by_airtable={}), airtable("singleSelect"), postgres("int4"), "int4"),
        (UserEmail(), airtable("email"), postgres("int8"), "of type int8"),
        (CommaList(), airtable("multilineText"), postgres("text"), "of type text"),
    ],
)
def test_a_pair_that_loses_something_says_what(
    codec: Any, field: AirtableField, column: Column, why: str
) -> None:
    assert why in str(pair(codec, field, column))


@pytest.mark.parametrize(
    ("column", "limit"),
    [
        (postgres("int2"), 2**15),
        (postgres("int4"), 2**31),
        (postgres("int8"), 2**53),
        (postgres("numeric"), 2**53),
        (postgres("numeric", digits=5, scale=2), 1000),
        (Column("column", None, True), 2**31),
    ],
)
def test_a_number_is_cut_to_what_the_column_holds(column: Column, limit: int) -> None:
    mapped = MappedField("Field", "column", ("number",), Integer())
    codec = fitted(mapped, airtable("number"), column).codec
    assert isinstance(codec, Integer)
    assert codec.limit == limit


def test_an_option_that_is_too_long_is_told() -> None:
    select = airtable("singleSelect", choices=("A", "Much too long"))
    assert too_long(select, postgres("varchar", 10)) == ["Much too long"]
    assert too_long(select, postgres("text")) == []
