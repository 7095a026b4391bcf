"""What is known of creation windows: their leads, when these were verified, what was covered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.windows import FIRST_MONTH, KnownRecord
from reconciler_dagster.postgres.names import filled
from reconciler_dagster.postgres.outcomes import PURPOSES, success

# Leads known to be missing are looked after as deletions; they are never verified.
_PRESENT = """
    FROM reconciler.baseline b WHERE b.client_id = :client_id AND b.sync = :sync AND NOT EXISTS (
        SELECT FROM reconciler.tombstone t WHERE t.client_id = b.client_id AND t.sync = b.sync
        AND t.record_id = b.record_id AND t.state <> 'returned')
"""


def expected(pair: Pair) -> str:
    """A subquery of every row that Airtable ought to have: record_id, lead_id, created_time. Takes
    the parameters of the pair.

    A portal that was there before us may hold rows whose records are long gone, and nothing was
    ever agreed on for them. Once a client was listed as a whole (it has a cursor), what was not met
    is one of these. When it was created in Airtable nobody knows: it is looked for where the row
    was created. A row of the portal's own is not expected.
    """
    switched = "false" if pair.table.active is None else "true"
    return filled(pair.table, _EXPECTED, whole=WHOLE, switched=switched)


_EXPECTED = """(
    SELECT record_id, lead_id, created_time FROM reconciler.baseline
    WHERE client_id = :client_id AND sync = :sync
    UNION ALL
    SELECT {record_id}, {row_id}, {created_at} FROM {table} l
    WHERE {is_own} AND {active} AND {record_id} ~ '{whole}'
      AND EXISTS (SELECT FROM reconciler.cursor
                  WHERE client_id = :client_id AND sync = :sync)
      AND NOT EXISTS (SELECT FROM reconciler.baseline b WHERE b.client_id = :client_id
                      AND b.sync = :sync AND b.record_id = {record_id})
      AND ({switched} OR NOT EXISTS (SELECT FROM reconciler.tombstone t
                      WHERE t.client_id = :client_id AND t.sync = :sync
                      AND t.record_id = {record_id} AND t.state = 'deleted'))
)"""


def known_leads(connection: Connection, pair: Pair) -> list[KnownRecord]:
    """Every lead that ought to be listed, in order of creation."""
    rows = connection.execute(
        text(f"SELECT b.created_time, b.verified_at {_PRESENT} ORDER BY b.created_time"),
        pair.keys,
    )
    return [KnownRecord(*row) for row in rows]


def oldest_verified(connection: Connection, pair: Pair) -> tuple[int, datetime | None]:
    """How many leads were never compared in full, and when the stalest of the others was."""
    row = connection.execute(
        text(f"SELECT count(*) FILTER (WHERE verified_at IS NULL), min(verified_at) {_PRESENT}"),
        pair.keys,
    ).one()
    return int(row[0]), row[1]


def leads_by_month(connection: Connection, pair: Pair) -> dict[str, int]:
    """How many leads each month is known to hold."""
    rows = connection.execute(
        text(
            "SELECT greatest(to_char(created_time AT TIME ZONE 'UTC', 'YYYY-MM-01'), :first), "
            "count(*) FROM reconciler.baseline WHERE client_id = :client_id AND sync = :sync "
            "GROUP BY 1"
        ),
        {**pair.keys, "first": FIRST_MONTH},
    )
    return {row[0]: row[1] for row in rows}


def leads_of(connection: Connection, pair: Pair, scope: Scope) -> set[str]:
    """Records of a window that a complete listing of it ought to have."""
    rows = connection.execute(
        text(
            f"SELECT record_id FROM {expected(pair)} k "  # noqa: S608
            "WHERE created_time >= CAST(:start AS timestamptz) "
            "AND created_time < CAST(:end AS timestamptz)"
        ),
        {**pair.keys, **_bounds(scope)},
    )
    return set(rows.scalars())


def creation_times(connection: Connection, pair: Pair, scope: Scope) -> list[datetime]:
    """When the records of a window were created on which something is agreed, in order."""
    rows = connection.execute(
        text(
            "SELECT created_time FROM reconciler.baseline "
            "WHERE client_id = :client_id AND sync = :sync "
            "AND created_time >= CAST(:start AS timestamptz) "
            "AND created_time < CAST(:end AS timestamptz) ORDER BY created_time"
        ),
        {**pair.keys, **_bounds(scope)},
    )
    return list(rows.scalars())


def _bounds(scope: Scope) -> dict[str, datetime | str]:
    return {"start": scope.start or "-infinity", "end": scope.end or "infinity"}


def spent_by_hour(connection: Connection, base_id: str, purpose: str, hours: int) -> list[int]:
    """Calls of a purpose in this hour, the one before, and so on."""
    rows = connection.execute(
        text(
            "SELECT coalesce(c.calls, 0) FROM generate_series(0, :hours - 1) AS h (back) "
            "LEFT JOIN reconciler.call_log c ON c.base_id = :base_id AND c.purpose = :purpose "
            "AND c.hour = date_trunc('hour', clock_timestamp()) - make_interval(hours => h.back) "
            "ORDER BY h.back"
        ),
        {"base_id": base_id, "purpose": purpose, "hours": hours},
    )
    return list(rows.scalars())


def note_months(
    connection: Connection,
    pair: Pair,
    months: Iterable[str],
    moment: datetime,
    noted_at: datetime,
) -> None:
    """Months that were listed from ``moment`` on and reconciled. ``noted_at``: on our clock."""
    connection.execute(
        text(
            "INSERT INTO reconciler.month_listing (client_id, sync, month, moment, noted_at) "
            "SELECT :client_id, :sync, unnest(CAST(:months AS text[])), :moment, :noted_at "
            "ON CONFLICT (client_id, sync, month) DO UPDATE SET moment = excluded.moment, "
            "noted_at = excluded.noted_at, reconciled_at = clock_timestamp()"
        ),
        {
            **pair.keys,
            "months": list(months),
            "moment": moment,
            "noted_at": noted_at,
        },
    )


def covered_since(
    connection: Connection, pair: Pair, months: Collection[str]
) -> tuple[datetime, timedelta] | None:
    """The moment from which on a delta can go on, on Airtable's clock, and how long ago it was on
    ours; None unless every month has been listed.
    """
    row = connection.execute(
        text(
            "SELECT count(*), min(moment), clock_timestamp() - min(noted_at) "
            "FROM reconciler.month_listing WHERE client_id = :client_id AND sync = :sync "
            "AND month = ANY(:months)"
        ),
        {**pair.keys, "months": list(months)},
    ).one()
    return (row[1], row[2]) if row[0] == len(set(months)) else None


@dataclass(frozen=True)
class MonthsLeft:
    """The months that a Great Sync has still to do. ``since``: when the one that was cut off began,
    where these are what is left of it.
    """

    months: list[str]
    since: datetime | None = None


def left_of_great_sync(
    connection: Connection, pairs: Sequence[Pair], months: Sequence[str], *, afresh: bool
) -> MonthsLeft:
    """Of a Great Sync over some syncs that was cut off, the months that are left of any of them;
    else all of them.

    One that began more than a day ago is begun anew, and so is one over other months or syncs.
    """
    if not afresh:
        found = [_left_of(connection, pair, months) for pair in pairs]
        open_ = [left for left in found if left is not None]
        if len(open_) == len(pairs) and any(left.months for left in open_):
            left_over = sorted({month for left in open_ for month in left.months})
            return MonthsLeft(left_over, min(left.since for left in open_ if left.since))
    for pair in pairs:
        _begin_great_sync(connection, pair, months)
    return MonthsLeft(list(months))


def _left_of(connection: Connection, pair: Pair, months: Sequence[str]) -> MonthsLeft | None:
    row = connection.execute(
        text(
            "SELECT array(SELECT m FROM unnest(g.months) AS m WHERE NOT EXISTS ("
            "SELECT FROM reconciler.month_listing l WHERE l.client_id = g.client_id "
            "AND l.sync = g.sync AND l.month = m AND l.reconciled_at >= g.started_at) ORDER BY "
            "m), g.started_at "
            "FROM reconciler.great_sync g WHERE g.client_id = :client_id AND g.sync = :sync "
            "AND g.finished_at IS NULL AND g.months = CAST(:months AS text[]) "
            "AND g.started_at > clock_timestamp() - interval '1 day'"
        ),
        {**pair.keys, "months": list(months)},
    ).one_or_none()
    return None if row is None else MonthsLeft(list(row[0]), row[1])


def _begin_great_sync(connection: Connection, pair: Pair, months: Sequence[str]) -> None:
    connection.execute(
        text(
            "INSERT INTO reconciler.great_sync (client_id, sync, months) "
            "VALUES (:client_id, :sync, :months) "
            "ON CONFLICT (client_id, sync) DO UPDATE SET months = excluded.months, "
            "started_at = clock_timestamp(), finished_at = NULL"
        ),
        {**pair.keys, "months": list(months)},
    )


def finish_great_sync(connection: Connection, pair: Pair) -> None:
    """All its months are done."""
    connection.execute(
        text(
            "UPDATE reconciler.great_sync SET finished_at = clock_timestamp() "
            "WHERE client_id = :client_id AND sync = :sync"
        ),
        pair.keys,
    )


def unproved_since(connection: Connection, pair: Pair) -> datetime | None:
    """Since when the lead that waits longest for its first full comparison could have had it:
    since its record was created, or since the client's first run that ended well.
    """
    first = success("first", "CAST(:client_id AS uuid)", PURPOSES)
    return connection.execute(
        text(
            f"SELECT min(greatest(b.created_time, coalesce({first}, clock_timestamp()))) "
            f"{_PRESENT} AND b.verified_at IS NULL"
        ),
        pair.keys,
    ).scalar()
