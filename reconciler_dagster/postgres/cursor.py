"""Where the Airtable side of the next delta starts, and what was seen inside the overlap.

Both are on Airtable's clock, in whole seconds (Airtable facts, section 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

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


def load(connection: Connection, client_id: str) -> Cursor | None:
    """The cursor of a client; None before its first complete listing."""
    row = connection.execute(
        text(
            "SELECT modified_since, "
            "clock_timestamp() - moved_at AS age "
            "FROM reconciler.cursor WHERE client_id = :client_id"
        ),
        {"client_id": client_id},
    ).one_or_none()
    return None if row is None else Cursor(row.modified_since, row.age)


def move(
    connection: Connection,
    client_id: str,
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
            "INSERT INTO reconciler.cursor (client_id, modified_since, run_id, moved_at) "
            "VALUES (:client_id, :moment, :run_id, clock_timestamp() - :ago) "
            "ON CONFLICT (client_id) DO UPDATE SET modified_since = excluded.modified_since, "
            "run_id = excluded.run_id, moved_at = excluded.moved_at"
        ),
        {"client_id": client_id, "moment": moment, "run_id": run_id, "ago": ago},
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.seen (client_id, record_id, listed_at) "
            "SELECT :client_id, unnest(CAST(:seen AS text[])), :moment "
            "ON CONFLICT (client_id, record_id) DO UPDATE SET listed_at = excluded.listed_at"
        ),
        {"client_id": client_id, "seen": list(seen), "moment": moment},
    )
    connection.execute(
        text(
            "DELETE FROM reconciler.seen WHERE client_id = :client_id "
            "AND (listed_at < :oldest OR listed_at > :moment)"
        ),
        {"client_id": client_id, "oldest": moment - overlap, "moment": moment},
    )


def to_leave_out(connection: Connection, client_id: str) -> list[str]:
    """Seen records that the next listing need not repeat: the latest ones, unless they are few."""
    seen = list(
        connection.execute(
            text(
                "SELECT record_id FROM reconciler.seen WHERE client_id = :client_id "
                "ORDER BY listed_at DESC, record_id LIMIT :longest"
            ),
            {"client_id": client_id, "longest": LONGEST_LEFT_OUT},
        ).scalars()
    )
    return seen if len(seen) > NOT_WORTH_LEAVING_OUT else []
