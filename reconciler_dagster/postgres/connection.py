"""Connections to the portal's Postgres, from any libpq URL, through a pooler or without.

A pooler in transaction mode gives each transaction whatever server connection is free: nothing may
hang on a session. So no statement is prepared, and what the engine needs of the server's settings
goes out with each BEGIN, in the same message: it holds for that transaction alone, whatever
database and role have set, and costs no round trip.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, Literal

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Engine, create_engine, event, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.effects import effect
from reconciler_dagster.postgres.arrays import TextsDumper
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.pooled import look_before_use
from reconciler_dagster.telling import why_no_connection


def _loads(stored: str | bytes) -> Any:
    """A database in SQL_ASCII holds whatever bytes came; such a text is told apart by its half
    characters (``core.reading``), and harms no other.
    """
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        if isinstance(stored, bytes | bytearray):
            stored = stored.decode("utf-8", "surrogateescape")
        return json.loads(stored)


class _AnyText(TextLoader):
    """Text of a database in SQL_ASCII: what is no UTF-8 is shown as question marks."""

    def load(self, data: Any) -> str:
        return bytes(data).decode("utf-8", "replace")


set_json_dumps(dump)
set_json_loads(_loads)


# What the engine's statements take for granted. Timeouts that are meant for a portal's requests
# would end a run over a whole base. A process that is stopped in the middle of a transaction must
# not keep others waiting for its locks: Postgres ends what has been idle for so long.
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "1min",
}
# What a transaction of the engine's says of itself in the setting `reconciler.writer`: both sides
# meet for the first time, so that what is written may be old news; a Great Sync or an audit mends
# what no delta could see; or what has just been edited is carried over.
Writer = Literal["first_contact", "repair", "delta"]
# Of transactions that others may have to wait for.
BRIEFLY_IDLE = "10s"
# Since version 17.
_TRANSACTION_TIMEOUT = 170000

# Of what the URL does not say itself. Text comes and goes as UTF-8, whatever the database stores. A
# connection whose other end is gone is noticed within half a minute.
_UNLESS_SAID = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}


class _Connection(psycopg.Connection[Any]):
    """``silent``: its transactions are short ones beside the run's own, and their commits nothing
    that a test would end a run at. ``writer``: what a transaction says of itself.
    """

    silent = False
    writer: Writer | None = None

    def commit(self) -> None:
        with nullcontext() if self.silent else effect("commit"):
            super().commit()

    @property
    def keeps_bytes(self) -> bool:
        """Whether the database has no encoding: it holds whatever bytes came."""
        return self.pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII"

    @property
    def begin(self) -> str:
        """What begins a transaction here."""
        # A standby refuses even to be asked for more.
        standby = self.pgconn.parameter_status(b"in_hot_standby") == b"on"
        settings = dict(SETTINGS)
        if self.silent or self.writer:
            settings["idle_in_transaction_session_timeout"] = BRIEFLY_IDLE
        if self.writer:
            settings["reconciler.writer"] = self.writer
        if self.pgconn.server_version >= _TRANSACTION_TIMEOUT:
            settings["transaction_timeout"] = "0"
        if self.keeps_bytes:  # else Postgres looks for UTF-8 in what others have written
            settings["client_encoding"] = "SQL_ASCII"
        return "; ".join(
            [
                f"BEGIN ISOLATION LEVEL READ COMMITTED {'READ ONLY' if standby else 'READ WRITE'}",
                *(f"SET LOCAL {name} = '{value}'" for name, value in settings.items()),
            ]
        )


def _connect(url: str) -> _Connection:
    try:
        options: dict[str, Any] = _UNLESS_SAID | conninfo_to_dict(url)
        options |= {"application_name": "reconciler", "client_encoding": "UTF8"}
        # Transactions are begun by _begin.
        connection = _Connection.connect(**options, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise ConfigurationError(
            f"The Postgres of DATABASE_URL cannot be reached ({why_no_connection(error)}): check "
            "the address, the credentials and that the server runs."
        ) from None
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "DATABASE_URL is not a libpq URL: expected postgresql://user:password@host/database."
        ) from None
    connection.adapters.register_dumper(list, TextsDumper)
    if connection.keeps_bytes:
        for name in ("text", "varchar", "bpchar", "name", 0):  # 0: every type without its own
            connection.adapters.register_loader(name, _AnyText)
    return connection


@lru_cache(maxsize=4)
def engine(url: str) -> Engine:
    """An SQLAlchemy engine on psycopg 3, whatever scheme the URL is written with.

    Raises ConfigurationError on the first connection when the URL or the server is no good.
    """
    own = create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(url),
        pool_size=4,
        use_native_hstore=False,
        hide_parameters=True,  # people's data is in them, and an error's text ends in a log
    )
    look_before_use(own)
    event.listen(own, "begin", _begin)
    return own


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(_driver(connection).begin)


def _driver(connection: Connection) -> _Connection:
    own = connection.connection.driver_connection
    assert isinstance(own, _Connection)
    return own


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction all of whose statements see the database at one and the same moment."""
    with engine.begin() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        yield connection


@contextmanager
def listening(url: str, channel: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own that hears the notices of a channel.

    Raises ConfigurationError when the URL or the server is no good.
    """
    with closing(_connect(url)) as connection:
        connection.autocommit = True
        connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        yield connection


@contextmanager
def writing(connection: Connection, writer: Writer = "delta") -> Iterator[Connection]:
    """One transaction of the engine's own: the trigger on leads neither notes nor stamps it, and
    the portal's triggers can tell what kind of write it is.
    """
    with _begun(connection, writer=writer):
        yield connection


@contextmanager
def _begun(
    connection: Connection, *, silent: bool = False, writer: Writer | None = None
) -> Iterator[None]:
    own = _driver(connection)
    own.silent, own.writer = silent, writer
    try:
        with connection.begin():
            yield
    finally:
        own.silent, own.writer = False, None


def server_encoding(engine: Engine) -> str:
    """How the database stores text, by Postgres' name for it."""
    with engine.connect() as connection:
        return str(connection.execute(text("SHOW server_encoding")).scalar_one())


@contextmanager
def at_once(engine: Engine) -> Iterator[Connection]:
    """A short transaction beside the run's own: the budget's and the lease's."""
    with engine.connect() as connection, _begun(connection, silent=True):
        yield connection


# Writes of one run after which Postgres' statistics are of no use any more.
MANY_WRITES = 1000


def analyze_after(engine: Engine, table: str, writes: int) -> None:
    """Renew the statistics where a run has written so many leads that it was a large fill.

    Until autovacuum comes round, the next runs would be planned as for empty tables, and read all
    of them. A role that does not own the tables is warned by Postgres, and nothing else happens.
    ``table``: quoted.
    """
    if writes < MANY_WRITES:
        return
    with engine.begin() as connection:
        connection.execute(
            text(
                f"ANALYZE {table}, reconciler.baseline, reconciler.seen, "
                "reconciler.staged_record, reconciler.staged_lead, reconciler.staged_change"
            )
        )
