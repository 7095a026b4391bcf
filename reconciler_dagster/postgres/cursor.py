"""Where the Airtable side of the next delta starts, and what was seen inside the overlap.

Both are on Airtable's clock, in whole seconds (Airtable facts, section 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair

# So few are listed again rather than left out: they are hardly more on the one page that is read
# anyway, and the filter stays short.
NOT_WORTH_LEAVING_OUT = 20
# With more the filter would grow too long; the others are simply read again.
LONGEST_LEFT_OUT = 2000


@dataclass(frozen=True)
class Cursor:
    """``modified_since``: on Airtable's clock. ``age``: how long ago that was, on ours."""

    modified_since: datetime
    age: timedelta


def load(connection: Connection, pair: Pair) -> Cursor | None:
    """The cursor of a client; None before its first complete listing."""
    row = connection.execute(
        text(
            "SELECT modified_since, "
            "clock_timestamp() - moved_at AS age "
            "FROM reconciler.cursor WHERE client_id = :client_id AND sync = :sync"
        ),
        pair.keys,
    ).one_or_none()
    return None if row is None else Cursor(row.modified_since, row.age)


def age(connection: Connection, pair: Pair) -> timedelta | None:
    """How long ago the last delta listed; None before the first complete listing."""
    known = load(connection, pair)
    return known.age if known else None


def move(
    connection: Connection,
    pair: Pair,
    run_id: str,
    moment: datetime,
    seen: Iterable[str],
    overlap: timedelta,
    ago: timedelta,
) -> None:
    """Move the cursor to a moment on Airtable's clock, which was so long ago on ours.

    ``seen``: records whose state at that moment is settled.
    """
    connection.execute(
        text(
            "INSERT INTO reconciler.cursor (client_id, sync, modified_since, run_id, moved_at) "
            "VALUES (:client_id, :sync, :moment, :run_id, clock_timestamp() - :ago) "
            "ON CONFLICT (client_id, sync) DO UPDATE SET modified_since = excluded.modified_since, "
            "run_id = excluded.run_id, moved_at = excluded.moved_at"
        ),
        {**pair.keys, "moment": moment, "run_id": run_id, "ago": ago},
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.seen (client_id, sync, record_id, listed_at) "
            "SELECT :client_id, :sync, unnest(CAST(:seen AS text[])), :moment "
            "ON CONFLICT (client_id, sync, record_id) DO UPDATE SET listed_at = excluded.listed_at"
        ),
        {**pair.keys, "seen": list(seen), "moment": moment},
    )
    connection.execute(
        text(
            "DELETE FROM reconciler.seen WHERE client_id = :client_id AND sync = :sync "
            "AND (listed_at < :oldest OR listed_at > :moment)"
        ),
        {**pair.keys, "oldest": moment - overlap, "moment": moment},
    )


def to_leave_out(connection: Connection, pair: Pair) -> list[str]:
    """Seen records that the next listing need not repeat: the latest ones, unless they are few."""
    found = seen(connection, pair)
    return found if len(found) > NOT_WORTH_LEAVING_OUT else []


def seen(connection: Connection, pair: Pair) -> list[str]:
    """What was seen inside the overlap, the latest first, as many as a filter may name."""
    return list(
        connection.execute(
            text(
                "SELECT record_id FROM reconciler.seen WHERE client_id = :client_id "
                "AND sync = :sync ORDER BY listed_at DESC, record_id LIMIT :longest"
            ),
            {**pair.keys, "longest": LONGEST_LEFT_OUT},
        ).scalars()
    )
