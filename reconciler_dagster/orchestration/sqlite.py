"""Dagster's records in SQLite, without making anew for every statement what a process has already.

Dagster makes an engine for each, opens the file, and reads all of its own migrations whenever it
looks whether a file is up to date: a fifth of what a run takes that a person starts by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage import sql
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, QueuePool, create_engine

# The index, and the runs that are at work.
_FILES = 32


class _EnginesByFile:
    """As sqlalchemy.create_engine. Forgets the oldest: each run has a file of its own.

    ``keeps_connections``: an engine keeps its connection, though Dagster disposes of it each time.
    """

    def __init__(self) -> None:
        self.keeps_connections = False
        self._made = dict[str, Engine]()

    def __call__(self, url: str, **options: Any) -> Engine:
        if url not in self._made:
            if len(self._made) >= _FILES:
                self._forget(next(iter(self._made)))
            self._made[url] = self._make(url, options)
        return self._made[url]

    def _make(self, url: str, options: dict[str, Any]) -> Engine:
        if not self.keeps_connections:
            return create_engine(url, **options)
        options |= {"poolclass": QueuePool, "pool_use_lifo": True}
        made: Any = create_engine(url, **options)
        made.dispose = lambda close=True: None
        return made  # type: ignore[no-any-return]

    def _forget(self, url: str) -> None:
        forgotten = self._made.pop(url, None)
        if forgotten is not None:  # another thread may have been first
            Engine.dispose(forgotten)

    def forget(self) -> None:
        """Close what is open."""
        for url in list(self._made):
            self._forget(url)


_engines = _EnginesByFile()
_migrations = dict[str | None, ScriptDirectory]()


class _ReadOnce(ScriptDirectory):
    """Dagster's migrations, of which it asks nothing but what the newest one is."""

    @classmethod
    def from_config(cls, config: Config) -> ScriptDirectory:
        """One for each folder."""
        folder = config.get_main_option("script_location")
        if folder not in _migrations:
            _migrations[folder] = ScriptDirectory.from_config(config)
        return _migrations[folder]


def keep_engines() -> None:
    """Have Dagster's storage in SQLite use one engine for each file, which holds no connection, and
    read its migrations once.
    """
    storages: list[Any] = [sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage]
    for module in storages:
        module.create_engine = _engines
    common: Any = sql
    common.ScriptDirectory = _ReadOnce


@contextmanager
def kept_connections() -> Iterator[None]:
    """Keep the connections too, for a process that executes a run, forks none, and soon ends: as
    long as one is open, SQLite leaves part of what was written beside the file.
    """
    _engines.forget()
    _engines.keeps_connections = True
    try:
        yield
    finally:
        _engines.keeps_connections = False
        _engines.forget()
