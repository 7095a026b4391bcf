"""Connections to the portal's Postgres, from any libpq URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import Connection, Engine, create_engine, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.effects import effect

set_json_dumps(lambda value: orjson.dumps(value).decode())
set_json_loads(orjson.loads)


class _Connection(psycopg.Connection[Any]):
    def commit(self) -> None:
        with effect("commit"):
            super().commit()


# These errors quote a part of the URL before anything was reached. Where a character of the
# password is not escaped, what libpq takes for the host or the port is a part of the password.
_QUOTES_THE_URL = {
    "resolve host": "its host name cannot be resolved",
    "translate host name": "its host name cannot be resolved",
    "connection option": "a part of the URL has no usable value",
}


def _reason(error: psycopg.OperationalError) -> str:
    reason = (str(error).strip().splitlines() or ["no reason given"])[0]
    return next((told for text, told in _QUOTES_THE_URL.items() if text in reason), reason)


def _connect(url: str) -> _Connection:
    try:
        return _Connection.connect(
            url, connect_timeout=10, application_name="reconciler", options="-c timezone=UTC"
        )
    except psycopg.OperationalError as error:
        raise ConfigurationError(
            f"The Postgres of DATABASE_URL cannot be reached ({_reason(error)}): check the "
            "address, the credentials and that the server runs."
        ) from None
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "DATABASE_URL is not a libpq URL: expected postgresql://user:password@host/database."
        ) from None


@lru_cache(maxsize=4)
def engine(url: str) -> Engine:
    """An SQLAlchemy engine on psycopg 3, whatever scheme the URL is written with.

    Raises ConfigurationError on the first connection when the URL or the server is no good.
    """
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(url),
        pool_pre_ping=True,
        pool_size=4,
        hide_parameters=True,  # people's data is in them, and an error's text ends in a log
    )


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
def writing(connection: Connection) -> Iterator[Connection]:
    """One transaction of the engine's own: the trigger on leads neither notes nor stamps it."""
    with connection.begin():
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        yield connection


# Writes of one run after which Postgres' statistics are of no use any more.
MANY_WRITES = 1000


def analyze_after(engine: Engine, writes: int) -> None:
    """Renew the statistics where a run has written so many leads that it was a large fill.

    Until autovacuum comes round, the next runs would be planned as for empty tables, and read all
    of them. A role that does not own the tables is warned by Postgres, and nothing else happens.
    """
    if writes < MANY_WRITES:
        return
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "ANALYZE public.leads, reconciler.baseline, reconciler.seen, "
            "reconciler.staged_record, reconciler.staged_lead, reconciler.staged_change"
        )
