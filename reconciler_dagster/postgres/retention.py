"""What is old goes: in small parts, so that nobody waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.retention import KEPT, Kept
from reconciler_dagster.postgres import totals

PART = 1000


def days_of(kept: Kept, settings: Settings) -> int:
    """How long the rows of a table are kept."""
    return settings.history_days if kept.days is None else kept.days


def prune_part(connection: Connection, settings: Settings) -> int:
    """Drop a part of each table's rows that are too old. Returns the most that went of one table:
    ``PART`` where more may be left.
    """
    totals.count(connection)
    return max(_prune(connection, kept, days_of(kept, settings)) for kept in KEPT)


def prune(engine: Engine, settings: Settings) -> None:
    """Drop all that is too old, each part in a transaction of its own."""
    more = True
    while more:
        with engine.begin() as connection:
            more = prune_part(connection, settings) == PART


def _prune(connection: Connection, kept: Kept, days: int) -> int:
    # What somebody else is just dropping, or writing, is left to the next time.
    return connection.execute(
        text(
            f"DELETE FROM reconciler.{kept.table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - constants
            f"SELECT ctid FROM reconciler.{kept.table} t WHERE {kept.by} < "
            f"clock_timestamp() - make_interval(days => :days) AND {kept.where} "
            "LIMIT :part FOR UPDATE SKIP LOCKED))"
        ),
        {"days": days, "part": PART},
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
    aged = {kept.table: kept for kept in KEPT}
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
