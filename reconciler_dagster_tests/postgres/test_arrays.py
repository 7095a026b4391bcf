"""Lists arrive in Postgres as they were sent, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from reconciler_dagster.postgres.arrays import TextsDumper
from reconciler_dagster.sandbox.postgres import PostgresServer

IDS = st.text("recAz09", min_size=1, max_size=17)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=9)
ODD = st.sampled_from(["", "NULL", "null", "nul", "l", "a,b", "{", "}", '"', "\\", " ", "\n", "é"])


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as own:
        own.adapters.register_dumper(list, TextsDumper)
        yield own


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(IDS | ODD | TEXTS | st.none(), max_size=6))
def test_texts_arrive_as_they_were_sent(
    connection: psycopg.Connection[Any], texts: list[str | None]
) -> None:
    row = connection.execute("SELECT %s::text[]", [texts]).fetchone()
    assert row == (texts,)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [([], "text[]"), ([1, 2], "int[]"), ([["a", "b"], ["c", "d"]], "text[]"), ([None], "text[]"),
     ([True, False], "bool[]"), ([1.5], "float8[]")],
)  # fmt: skip
def test_other_lists_too(connection: psycopg.Connection[Any], sent: list[Any], kind: str) -> None:
    row = connection.execute(f"SELECT %s::{kind}", [sent]).fetchone()
    assert row == (sent,)


def test_the_class_is_the_one_that_psycopg_has_for_lists(
    connection: psycopg.Connection[Any],
) -> None:
    """Else an upgrade has another way to send them, and this one is for nothing."""
    with psycopg.connect(connection.info.dsn, autocommit=True) as plain:
        found = plain.adapters.get_dumper(list, psycopg.adapt.PyFormat.AUTO)
    assert found is ListDumper
