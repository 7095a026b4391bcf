"""A connection from the pool: whether it lives is seen without a question, mostly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil
import psycopg
import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.postgres import pooled
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.sandbox.postgres import PostgresServer

BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def portal(postgres_server: PostgresServer) -> Iterator[Engine]:
    own = engine(postgres_server.create_database("pooled"))
    yield own
    own.dispose()
    postgres_server.drop_database("pooled")


@pytest.fixture
def asked(portal: Engine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each time that the server is asked whether it is there."""
    asked: list[object] = []
    ping = portal.dialect.do_ping
    monkeypatch.setattr(portal.dialect, "do_ping", lambda c: asked.append(c) or ping(c))
    return asked


def use(portal: Engine) -> int:
    with portal.begin() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def terminate_all(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url("pooled")) as connection:
        gone = [pid for (pid,) in connection.execute(BACKENDS)]
        for pid in gone:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    for pid in gone:  # only then is the connection closed
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(60)


def test_one_that_lay_for_moments_is_not_asked(portal: Engine, asked: list[object]) -> None:
    use(portal)
    asked.clear()
    assert len({use(portal) for _ in range(5)}) == 1
    assert not asked


def test_one_that_lay_long_is_asked(
    portal: Engine, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = use(portal)
    asked.clear()
    monkeypatch.setattr(pooled, "_SURE_SECONDS", -1.0)
    assert use(portal) == first
    assert len(asked) == 1


def test_those_that_the_server_has_closed_are_made_anew(
    portal: Engine, postgres_server: PostgresServer
) -> None:
    """All that lie in the pool, not only the one that is found first."""
    held = [portal.connect() for _ in range(3)]
    old = {one.execute(text("SELECT pg_backend_pid()")).scalar_one() for one in held}
    for one in held:
        one.close()
    terminate_all(postgres_server)
    held = [portal.connect() for _ in range(3)]
    new = {one.execute(text("SELECT pg_backend_pid()")).scalar_one() for one in held}
    for one in held:
        one.close()
    assert len(old | new) == 6


def test_one_that_was_closed_at_this_end_is_made_anew(portal: Engine) -> None:
    with portal.connect() as connection:
        own = connection.connection.driver_connection
    assert isinstance(own, psycopg.Connection)
    own.close()
    assert use(portal)
