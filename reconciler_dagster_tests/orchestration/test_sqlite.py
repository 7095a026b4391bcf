"""Dagster's own records in SQLite: what a process has already is not made anew."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alembic.script import ScriptDirectory

from reconciler_dagster.orchestration import sqlite
from reconciler_dagster.orchestration.sqlite import kept_connections
from reconciler_dagster_tests.orchestration.launching import dagster_home


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with dagster_home() as home:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
        yield home


def connects(instance: dg.DagsterInstance) -> list[Any]:
    """Each way in which Dagster opens a file of its own; this fails when an upgrade moves one."""
    runs: Any = instance.run_storage
    events: Any = instance.event_log_storage
    schedules: Any = instance.schedule_storage
    one = partial(events.run_connection, "one")
    return [runs.connect, schedules.connect, events.index_connection, one]


def opened(connect: Any) -> tuple[Any, Any]:
    with connect() as connection:
        return connection.engine, connection.connection.dbapi_connection


def test_a_file_has_one_engine_and_old_ones_are_forgotten(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        for connect in connects(instance):
            (engine, connection), (again, another) = opened(connect), opened(connect)
            assert again is engine
            assert another is not connection, "a server keeps no file open"
        events: Any = instance.event_log_storage
        for n in range(2 * sqlite._FILES):
            opened(partial(events.run_connection, str(n)))
        assert opened(connects(instance)[-1])[0] is not engine


def test_a_command_keeps_its_connections_and_leaves_nothing_open(home: Path) -> None:
    @dg.op
    def rest() -> None:
        pass

    @dg.job
    def nothing() -> None:
        rest()

    with kept_connections(), dg.DagsterInstance.get() as instance:
        for connect in connects(instance):
            assert opened(connect) == opened(connect)
        ran = nothing.execute_in_process(instance=instance)
        assert list(home.rglob("*.db-wal")), "as long as they are open"
    assert list(home.rglob("*.db-wal")) == []
    with dg.DagsterInstance.get() as instance:
        connect = connects(instance)[0]
        (_, first), (_, second) = opened(connect), opened(connect)
        assert first is not second
        told = [entry.dagster_event_type for entry in instance.all_logs(ran.run_id)]
        assert (told[0], told[-1]) == (
            dg.DagsterEventType.RUN_START,
            dg.DagsterEventType.RUN_SUCCESS,
        )
        assert told.count(dg.DagsterEventType.STEP_SUCCESS) == 1


def test_dagsters_migrations_are_read_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one file is up to date, and that the next one is."""
    monkeypatch.setattr(sqlite, "_migrations", {})
    read = list[str]()
    from_config = ScriptDirectory.from_config

    def noted(config: Any) -> ScriptDirectory:
        read.append(str(config.get_main_option("script_location")))
        return from_config(config)

    monkeypatch.setattr(ScriptDirectory, "from_config", noted)
    with dg.DagsterInstance.get() as instance:
        for connect in connects(instance):
            opened(connect)
    stamped = 4  # a file that is new is told its version by a way of Alembic's own
    assert len(read) - stamped == 1
