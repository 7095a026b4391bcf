"""Dagster's own storage in Postgres: a connection that the process keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest
import sqlalchemy
from dagster._core.utils import make_new_run_id
from dagster_postgres.event_log.event_log import CHANNEL_NAME
from dagster_postgres.run_storage.run_storage import PostgresRunStorage

from reconciler_dagster.orchestration.storage import one_commit
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.orchestration.launching import dagster_home, statements_of

BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' "
    "AND pid <> pg_backend_pid()"
)


class Watched:
    """An instance, and who is connected to its database."""

    def __init__(self, url: str, instance: dg.DagsterInstance) -> None:
        self.instance, self.url = instance, url

    def backends(self) -> list[int]:
        with psycopg.connect(self.url) as connection:
            return [pid for (pid,) in connection.execute(BACKENDS, [connection.info.dbname])]

    def terminate(self) -> None:
        gone = self.backends()
        with psycopg.connect(self.url) as connection:
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


def test_several_that_start_at_once_on_an_empty_database_all_start(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As webserver, daemon and code server do on the first day: one of them makes the tables."""
    made = []
    make = PostgresRunStorage._init_db

    def linger(storage: PostgresRunStorage) -> None:
        made.append(storage)
        time.sleep(0.5)  # for the others to look whether they are there
        make(storage)

    monkeypatch.setattr(PostgresRunStorage, "_init_db", linger)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_server.create_database("dagster_empty"))
    at_once = Barrier(4)

    def start() -> int:
        at_once.wait()
        with dg.DagsterInstance.get() as instance:
            return instance.get_runs_count()

    with dagster_home() as home, ThreadPoolExecutor(4) as pool:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        started = [pool.submit(start) for _ in range(4)]
        assert [one.result() for one in started] == [0] * 4
    assert len(made) == 1


def test_a_connection_that_was_lost_is_made_anew(watched: Watched) -> None:
    watched.use()
    watched.terminate()
    watched.use()
    assert len(watched.backends()) == 1


def test_nothing_is_asked_beside_what_is_wanted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not whether the connection still lives, with each statement: half of all were that. Nor
    whether a table or a column is there.
    """
    watched.use()
    storage: Any = watched.instance.event_log_storage
    pings: list[object] = []
    ping = storage._engine.dialect.do_ping
    monkeypatch.setattr(storage._engine.dialect, "do_ping", lambda c: pings.append(c) or ping(c))
    said = statements_of(storage._engine)
    for _ in range(10):
        assert storage.has_table("asset_check_executions")
        watched.instance.get_dynamic_partitions("client")
    assert len(said) == 10
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


def _seen_by_others(url: str) -> tuple[int, int]:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM event_logs)"
        ).fetchone()
    assert row is not None
    return row


def _create(instance: dg.DagsterInstance) -> None:
    run = dg.DagsterRun(job_name="sync", run_id=make_new_run_id())
    instance.add_run(run)
    instance.report_engine_event("queued soon", run)


def test_what_is_stored_in_one_commit_is_seen_at_its_end_and_not_at_all_if_it_fails(
    watched: Watched,
) -> None:
    instance = watched.instance
    with one_commit(instance):
        _create(instance)
        _create(instance)
        assert instance.get_runs_count() == 2
        assert _seen_by_others(watched.url) == (0, 0)
    assert _seen_by_others(watched.url) == (2, 2)

    with suppress(RuntimeError), one_commit(instance):
        _create(instance)
        raise RuntimeError("the test")
    assert _seen_by_others(watched.url) == (2, 2)

    _create(instance)  # by itself, as ever
    assert _seen_by_others(watched.url) == (3, 3)


def test_in_sqlite_each_is_committed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with dagster_home() as home:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
        with (
            dg.DagsterInstance.get() as instance,
            dg.DagsterInstance.get() as other,
            one_commit(instance),
        ):
            _create(instance)
            assert other.get_runs_count() == 1


def test_no_event_is_told_to_a_channel_that_nobody_hears(watched: Watched) -> None:
    """A transaction each, with a wait for the disk. What it stores can be read as ever."""
    key = dg.AssetKey("leads")
    with psycopg.connect(watched.url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL_NAME}")
        watched.instance.report_runless_asset_event(dg.AssetMaterialization(key))
        with psycopg.connect(watched.url, autocommit=True) as by_hand:
            by_hand.execute(f"NOTIFY {CHANNEL_NAME}, 'the first'")
        (told,) = listener.notifies(stop_after=1)
    assert told.payload == "the first"
    assert watched.instance.get_latest_materialization_event(key) is not None


def test_what_is_there_for_good_is_asked_once_or_not_at_all(watched: Watched) -> None:
    """The names are Dagster's own: this fails when an upgrade moves them."""
    storage: Any = watched.instance.run_storage
    events: Any = watched.instance.event_log_storage
    said = statements_of(storage._engine)
    for _ in range(3):
        watched.instance.get_asset_records([dg.AssetKey("leads")])
        assert storage.has_backfill_id_column()
        assert storage.has_run_stats_index_cols()
        assert events.has_asset_key_index_cols()
        assert not storage.has_job_snapshot("none")
        assert not storage.has_execution_plan_snapshot("none")
    assert not any("pg_attribute" in one for one in said)
    assert sum("FROM snapshots" in one for one in said) == 6  # a no is asked again
    # What is not known from the beginning is asked, and says the same.
    assert not events.has_asset_key_col("no_such_column")
    assert any("pg_attribute" in one for one in said)
    said.clear()
    assert type(storage).has_backfill_id_column(storage)
    assert type(storage).has_run_stats_index_cols(storage)
    with events._connect() as connection:
        ask = type(events)._has_asset_key_col_on_connection
        assert ask(events, connection, "last_materialization_timestamp")
    assert sum("pg_attribute" in one for one in said) == 3
