"""What is old goes: in small parts, so that nobody waits for it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.retention import KEPT, Kept
from reconciler_dagster.postgres import totals
from reconciler_dagster.postgres.connection import at_once

ROWS_AT_A_TIME = 1000
# Whichever process comes first after so long drops what is old; a process asks once a minute.
EVERY_SECONDS, ASKED_EVERY_SECONDS = 600.0, 60.0
# Nobody who has something else to do is kept for longer; the next one goes on.
AT_A_TIME_SECONDS = 5.0

_TURN = """
    INSERT INTO reconciler.pruned AS p (at) VALUES (clock_timestamp())
    ON CONFLICT (single) DO UPDATE SET at = excluded.at
    WHERE p.at <= clock_timestamp() - make_interval(secs => :every) RETURNING 1
"""
# When this process may ask again, by portal.
_ASK_AT: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def days_of(kept: Kept, settings: Settings) -> int:
    """How long the rows of a table are kept."""
    return settings.history_days if kept.days is None else kept.days


def prune_when_due(engine: Engine, settings: Settings) -> None:
    """Drop what is too old, unless some process has done so of late."""
    now = time.monotonic()
    if now < _ASK_AT.get(engine, 0.0):
        return
    with at_once(engine) as connection:
        is_due = connection.execute(text(_TURN), {"every": EVERY_SECONDS}).scalar()
    is_left = bool(is_due) and prune(engine, settings, AT_A_TIME_SECONDS)
    if is_left:
        with at_once(engine) as connection:
            connection.execute(text("UPDATE reconciler.pruned SET at = '-infinity'"))
    _ASK_AT[engine] = now if is_left else now + ASKED_EVERY_SECONDS


def prune(engine: Engine, settings: Settings, seconds: float = math.inf) -> bool:
    """Drop what is too old, each part in a transaction of its own. Returns whether some is left
    after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        with at_once(engine) as connection:
            more = prune_part(connection, settings) == ROWS_AT_A_TIME
        if not more or time.monotonic() > deadline:
            return more


def prune_part(connection: Connection, settings: Settings) -> int:
    """Drop a part of each table's rows that are too old. Returns the most that went of one table:
    ``ROWS_AT_A_TIME`` where more may be left.
    """
    totals.count(connection)
    return max(_prune(connection, kept, days_of(kept, settings)) for kept in KEPT)


def _prune(connection: Connection, kept: Kept, days: int) -> int:
    # What somebody else is just dropping, or writing, is left to the next time.
    return connection.execute(
        text(
            f"DELETE FROM reconciler.{kept.table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - constants
            f"SELECT ctid FROM reconciler.{kept.table} t WHERE {kept.by} < "
            f"clock_timestamp() - make_interval(days => :days) AND {kept.where} "
            "LIMIT :part FOR UPDATE SKIP LOCKED))"
        ),
        {"days": days, "part": ROWS_AT_A_TIME},
    ).rowcount


@dataclass(frozen=True)
class Stored:
    """A table of the engine. ``days``: how long its rows are kept; None: for good, or they go by
    themselves. ``oldest``: of those that are kept by age.
    """

    table: str
    bytes: int
    rows: int
    days: int | None
    oldest: datetime | None


def storage(connection: Connection, settings: Settings) -> list[Stored]:
    """Every table of the engine, the largest first."""
    sizes = connection.execute(
        text(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relnamespace = 'reconciler'::regnamespace AND relkind = 'r' "
            "AND relname <> 'alembic_version' ORDER BY 2 DESC, 1"
        )
    ).all()
    aged = {kept.table: kept for kept in reversed(KEPT)}
    found = []
    for table, size in sizes:
        kept = aged.get(table)
        oldest = f"min({kept.by})" if kept else "CAST(NULL AS timestamptz)"
        # The names come from the catalogue of our own schema.
        row = connection.execute(text(f'SELECT count(*), {oldest} FROM reconciler."{table}"')).one()  # noqa: S608
        found.append(
            Stored(table, int(size), row[0], days_of(kept, settings) if kept else None, row[1])
        )
    return found
