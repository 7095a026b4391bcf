"""Where Dagster keeps its own records: Postgres when one is configured, else SQLite.

`dagster.yaml` has no conditionals, and a missing `{env: NAME}` in it is fatal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import dagster as dg
import psycopg
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.orchestration.bookkeeping import store_together
from reconciler_dagster.orchestration.home import home_folder
from reconciler_dagster.orchestration.sqlite import keep_engines
from reconciler_dagster.orchestration.stored import without_secrets
from reconciler_dagster.outlets import guard
from reconciler_dagster.postgres.pooled import look_before_use

_CONNECTION_SECONDS = 3600
# As many as several threads have asked at once, at most; a run's process has but one or two. One
# that is made for a single statement costs more than the statement.
_KEPT = 4
# Held by who makes Dagster's tables.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('reconciler dagster tables', 0))"


class ChosenStorage(DagsterStorage, ConfigurableClass):
    """Stands in `dagster.yaml`; what is made of it is dagster-postgres' storage or Dagster's."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure: the settings decide."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # gives the storage that was chosen
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
        """Choose."""
        guard()
        url = Settings.load().dagster_postgres_url
        if url is None:
            keep_engines()
            return without_secrets(DagsterSqliteStorage.from_local(str(home_folder())))
        from dagster_postgres import DagsterPostgresStorage

        own = psycopg2_url(url.get_secret_value())
        kept = _kept_connection(own)
        with kept.connect() as connection:
            columns = _columns(connection)
        if not _is_there(columns):
            columns = _create_tables(kept, own)
        made = DagsterPostgresStorage(own, should_autocreate_tables=False)
        return store_together(without_secrets(_remembering(_on(kept, made), columns)))


def _on(kept: Engine, storage: DagsterStorage) -> DagsterStorage:
    """The same storage on connections that the process keeps: one, and more where several threads
    ask at once. Dagster would open one for every statement, 200 times a run.

    Dagster's own way to keep them, for the webserver, sets a timeout for the session: behind a
    pooler that would stay with the connection for whoever gets it next.
    """
    parts: list[Any] = [storage.event_log_storage, storage.run_storage, storage.schedule_storage]
    for part in parts:
        part._engine = kept  # dagster-postgres has no other way
    return storage


@contextmanager
def one_commit(instance: dg.DagsterInstance) -> Iterator[None]:
    """Commit together whatever this instance stores meanwhile: one wait for the disk instead of
    twenty for each run that is created. For one thread, and for moments: an asset's row stays
    locked until then, and all runs of that asset write it.

    Where Dagster keeps its records in SQLite, each is committed by itself, as ever.
    """
    runs: Any = instance.run_storage
    events: Any = instance.event_log_storage
    if not isinstance(getattr(runs, "_engine", None), Engine):
        yield
        return
    with (
        _transaction(runs._engine) as connection,
        _instead(runs, "connect", connection),
        _instead(events, "_connect", connection),
    ):
        yield


@contextmanager
def _transaction(kept: Engine) -> Iterator[Connection]:
    """One on a connection that else commits each statement by itself."""
    with kept.connect() as opened:
        connection = opened.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            yield connection


@contextmanager
def _instead(part: Any, name: str, connection: Connection) -> Iterator[None]:
    """Have a storage use this connection where it would open one."""
    setattr(part, name, lambda: nullcontext(connection))
    try:
        yield
    finally:
        delattr(part, name)


def _kept_connection(url: str) -> Engine:
    kept = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=_KEPT,
        max_overflow=-1,
        pool_recycle=_CONNECTION_SECONDS,
    )
    look_before_use(kept)
    _leave_out_notices(kept)
    return kept


def _leave_out_notices(kept: Engine) -> None:
    """After each event of a run Dagster tells a channel to which nothing of its own listens any
    more (the comment in its ``store_event``): a transaction of its own, with a wait for the disk.
    """
    from dagster_postgres.event_log.event_log import CHANNEL_NAME

    notice = f"NOTIFY {CHANNEL_NAME}, "
    # What says True counts as executed.
    event.listen(kept, "do_execute", lambda _, statement, *_more: statement.startswith(notice))


def _columns(connection: Connection) -> dict[str, set[str]]:
    """The columns of each table that is there: Dagster would ask for them one table at a time, and
    each run anew.
    """
    found = connection.execute(
        text(
            "SELECT c.relname, array_agg(a.attname::text) FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
            "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') "
            "AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.relname"
        )
    )
    return {table: set(columns) for table, columns in found}


def _create_tables(kept: Engine, url: str) -> dict[str, set[str]]:
    """Have Dagster make its tables, and return their columns. One process at a time: of several
    that start on an empty database Dagster would have one make them and the others fail.
    """
    from dagster_postgres import DagsterPostgresStorage

    with _transaction(kept) as connection:
        connection.execute(text(_LOCK))
        if not _is_there(_columns(connection)):
            DagsterPostgresStorage(url, should_autocreate_tables=True)
        return _columns(connection)


def _is_there(columns: dict[str, set[str]]) -> bool:
    """Whether Dagster has made its tables. Its own look is three connections, each time."""
    return {"runs", "instance_info", "event_logs", "jobs"} <= columns.keys()


def _remembering(storage: DagsterStorage, columns: dict[str, set[str]]) -> DagsterStorage:
    """The same storage; that a table, a column, a plan or a client's partition is there, which
    stays, is asked once, not with every event of a run. What ``columns`` tell is not asked at all.
    """
    runs = columns.get("runs", set())
    of_events: dict[str, set[tuple[Any, ...]]] = {
        "has_table": {(table,) for table in columns},
        "_has_asset_key_col_on_connection": {(name,) for name in columns.get("asset_keys", ())},
        "has_dynamic_partition": set(),
    }
    of_runs: dict[str, set[tuple[Any, ...]]] = {
        "has_backfill_id_column": {()} if "backfill_id" in runs else set(),
        "has_run_stats_index_cols": {()} if runs >= {"start_time", "end_time"} else set(),
        "has_job_snapshot": set(),
        "has_execution_plan_snapshot": set(),
    }
    for part, known in ((storage.event_log_storage, of_events), (storage.run_storage, of_runs)):
        for name, there in known.items():
            setattr(part, name, _asked_until_yes(getattr(part, name), there))
    return storage


def _asked_until_yes(ask: Callable[..., bool], there: set[tuple[Any, ...]]) -> Callable[..., bool]:
    """``there``: what is known to be there. Over which connection it is asked makes no odds."""

    def known(*what: Any, **named: Any) -> bool:
        key = tuple(one for one in (*what, *named.values()) if not isinstance(one, Connection))
        if key not in there and ask(*what, **named):
            there.add(key)
        return key in there

    return known


def psycopg2_url(url: str) -> str:
    """Any libpq URL or connection string for the driver that dagster-postgres brings.

    SQLAlchemy 2.1 takes psycopg 3 for a plain `postgresql://`.
    """
    scheme, rest = url.split("://", 1) if "://" in url else ("", url)
    try:
        parts = conninfo_to_dict(f"{scheme.partition('+')[0]}://{rest}" if scheme else url)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "DAGSTER_POSTGRES_URL is not a libpq URL: "
            "expected postgresql://user:password@host/database."
        ) from None
    return URL.create(
        "postgresql+psycopg2",
        username=_text(parts.pop("user", None)),
        password=_text(parts.pop("password", None)),
        database=_text(parts.pop("dbname", None)),
        query={name: str(value) for name, value in parts.items()},
    ).render_as_string(hide_password=False)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
