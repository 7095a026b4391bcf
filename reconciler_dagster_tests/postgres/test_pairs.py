"""What the mapping check accepts, both ways through a real Postgres: nothing comes back changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from reconciler_dagster.core.codecs import (
    Checkbox,
    DateTime,
    Flag,
    Integer,
    Text,
)
from reconciler_dagster.core.fields import MappedField
from reconciler_dagster.core.lists import CommaList
from reconciler_dagster.core.pairs import AirtableField, Column, fitted, loss
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster.postgres.catalogue import columns_of
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster_tests.mapping import SYNC

TYPES = [
    "text", "varchar(8)", "char(8)", "name", "smallint", "integer", "bigint", "numeric",
    "numeric(5,2)", "real", "double precision", "boolean", "timestamptz", "timestamptz(3)",
    "timestamptz(0)", "timestamp", "date", "text[]", "varchar(4)[]", "uuid", "jsonb", "bytea",
]  # fmt: skip
NUMBERS = st.integers(-(2**60), 2**60) | st.integers(-300, 300) | st.floats(width=32)
DAYS = st.dates().map(str)
MOMENTS = st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z")
TEXTS = st.text() | st.text(alphabet="ab \n\t,")
FIELDS: list[tuple[AirtableField, list[Any], Any]] = [
    (AirtableField("f", "F", "number", precision=0), [Integer(), Flag()], NUMBERS),
    (AirtableField("f", "F", "number", precision=2), [Integer(), Integer(rounds=True)], NUMBERS),
    (AirtableField("f", "F", "percent"), [Integer(), Integer(rounds=True)], NUMBERS),
    (AirtableField("f", "F", "checkbox"), [Checkbox()], st.booleans()),
    (AirtableField("f", "F", "date"), [DateTime(), DateTime(days=False)], DAYS),
    (AirtableField("f", "F", "dateTime"), [DateTime(days=False)], MOMENTS),
    (AirtableField("f", "F", "multilineText"), [Text(), CommaList()], TEXTS),
    (AirtableField("f", "F", "richText"), [Text()], TEXTS),
]
USERS = Directory()


@pytest.fixture(scope="module")
def columns(
    postgres_server: Any, migrated_template: str
) -> Iterator[tuple[Connection, list[Column]]]:
    """A table of leads with a column of every type."""
    own = engine(postgres_server.create_database("pairs", template=migrated_template))
    with own.connect() as connection:
        for number, type_ in enumerate(TYPES):
            connection.exec_driver_sql(f"ALTER TABLE leads ADD COLUMN c{number} {type_}")
        connection.commit()
        named = {column.name: column for column in columns_of(connection, SYNC.table)}
        yield connection, [named[f"c{number}"] for number in range(len(TYPES))]
    own.dispose()


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_accepted_comes_back_as_it_went(
    columns: tuple[Connection, list[Column]], data: st.DataObject
) -> None:
    connection, all_of_them = columns
    field, codecs, cells = data.draw(st.sampled_from(FIELDS))
    column = data.draw(st.sampled_from(all_of_them))
    mapped = MappedField("F", column.name, (field.type,), data.draw(st.sampled_from(codecs)))
    assume(loss(mapped, field, column, "leads") is None)
    codec = fitted(mapped, field, column).codec
    cell = data.draw(cells)
    try:
        value = codec.from_airtable(cell, USERS)
        stored = _stored(connection, column.name, codec.to_postgres(value, USERS))
    except (Unreadable, DataError):
        connection.rollback()
        return  # refused, and not changed
    assert codec.from_postgres(stored, USERS) == value
    assert codec.from_airtable(codec.to_airtable(value), USERS) == value
    if isinstance(cell, int | float) and isinstance(codec, Integer):
        assert abs(cell - value) <= (0.5 if codec.rounds else 1e-6)


def _stored(connection: Connection, column: str, value: Any) -> Any:
    return connection.execute(
        text(
            f"SELECT to_jsonb(l) -> '{column}' "  # noqa: S608 - a constant
            "FROM jsonb_populate_record(NULL::leads, CAST(:row AS jsonb)) l"
        ),
        {"row": dump({column: value})},
    ).scalar_one()


@pytest.mark.parametrize(
    "type_", ["smallint", "numeric(5,2)", "text", "char(8)", "boolean", "timestamptz", "text[]"]
)
def test_most_types_have_a_field_that_fits(
    columns: tuple[Connection, list[Column]], type_: str
) -> None:
    column = columns[1][TYPES.index(type_)]
    assert any(
        loss(MappedField("F", column.name, (field.type,), codec), field, column, "t") is None
        for field, codecs, _ in FIELDS
        for codec in codecs
    )
