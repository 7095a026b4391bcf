"""Dagster's own storage in Postgres: a connection that the process keeps."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest
import sqlalchemy

from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.orchestration.launching import dagster_home

BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' "
    "AND pid <> pg_backend_pid()"
)


class Watched:
    """An instance, and who is connected to its database."""

    def __init__(self, url: str, instance: dg.DagsterInstance) -> None:
        self.instance, self._url = instance, url

    def backends(self) -> list[int]:
        with psycopg.connect(self._url) as connection:
            return [pid for (pid,) in connection.execute(BACKENDS, [connection.info.dbname])]

    def terminate(self) -> None:
        gone = self.backends()
        with psycopg.connect(self._url) as connection:
            for pid in gone:
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        for pid in gone:  # only then is the connection closed
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).wait(60)

    def use(self) -> None:
        """Each of the three parts of the storage is asked something."""
        self.instance.get_runs_count()
        self.instance.get_dynamic_partitions("client")
        self.instance.all_instigator_state()


@pytest.fixture
def watched(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    url = postgres_server.create_database("dagster_connections")
    with dagster_home() as home:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        with dg.DagsterInstance.get() as instance:
            yield Watched(url, instance)


def test_a_process_keeps_one_connection_and_few_for_its_threads(watched: Watched) -> None:
    watched.use()
    kept = watched.backends()
    assert len(kept) == 1
    watched.use()
    assert watched.backends() == kept
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(watched.use) for _ in range(32)]:
            done.result()
    # The daemon's threads would make one for each statement, and close it.
    assert len(watched.backends()) <= 4


def test_a_connection_that_was_lost_is_made_anew(watched: Watched) -> None:
    watched.use()
    watched.terminate()
    watched.use()
    assert len(watched.backends()) == 1


def test_nothing_is_asked_beside_what_is_wanted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not whether the connection still lives, with each statement: half of all were that. Nor
    whether the table of the checks is there, with each check.
    """
    watched.use()
    storage: Any = watched.instance.event_log_storage
    pings: list[object] = []
    ping = storage._engine.dialect.do_ping
    monkeypatch.setattr(storage._engine.dialect, "do_ping", lambda c: pings.append(c) or ping(c))
    said: list[str] = []
    sqlalchemy.event.listen(
        storage._engine,
        "before_cursor_execute",
        lambda _, __, statement, *_more: said.append(statement),
    )
    for _ in range(10):
        assert storage.has_table("asset_check_executions")
        watched.instance.get_dynamic_partitions("client")
    assert len(said) == 11
    assert not pings
    assert not storage.has_table("no_such_table")
    # What is not there is asked each time: it may be there by then.
    assert not watched.instance.has_dynamic_partition("client", "Acme")
    watched.instance.add_dynamic_partitions("client", ["Acme"])
    assert watched.instance.has_dynamic_partition("client", "Acme")
    said.clear()
    assert watched.instance.has_dynamic_partition("client", "Acme")
    assert not said
    watched.terminate()
    watched.use()
    assert pings


def test_tables_that_are_there_are_not_looked_for_one_by_one(watched: Watched) -> None:
    """Dagster's three parts would each connect for it, in every process."""
    made: list[object] = []

    def note(connection: object, _: object) -> None:
        made.append(connection)

    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", note)
    try:
        with dg.DagsterInstance.get() as again:
            again.get_runs_count()
    finally:
        sqlalchemy.event.remove(sqlalchemy.pool.Pool, "connect", note)
    assert len(made) == 1
