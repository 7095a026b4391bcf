"""The lease of a client: one row that says who may write, under which number, and until when.

Each function is a statement or two in the caller's short transaction. The number, the *fence*,
comes from a sequence: whoever holds a client, or lets it go, takes one that nobody had before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from reconciler_dagster.postgres.adoption import CONSENT

# KEY SHARE is what a takeover waits for and a renewal does not.
_HOLDER = "SELECT run_id, fence FROM reconciler.lease WHERE client_id = :client_id FOR KEY SHARE"


@dataclass(frozen=True)
class Lease:
    """A lease as it was found.

    ``holder``: its process (``processes.this_process``). ``expired``: by Postgres' clock, or let
    go. ``seconds``: how long it lasts without a renewal. ``wanted``: somebody else waits for the
    client who does not yield.
    """

    run_id: str
    fence: int
    holder: str
    renewed_at: datetime
    expired: bool
    seconds: float
    wanted: bool


def read(connection: Connection, client_id: str, run_id: str) -> Lease:
    """The lease of a client, as seen by a run that wants it. Waits for nobody."""
    while True:
        row = connection.execute(
            text(
                "SELECT run_id, fence, holder, renewed_at, expires_at <= clock_timestamp(), "
                "CASE WHEN isfinite(expires_at) THEN "
                "CAST(extract(epoch FROM expires_at - renewed_at) AS float8) ELSE 0 END, "
                "EXISTS (SELECT FROM reconciler.lease_wait w WHERE w.client_id = l.client_id "
                "AND w.run_id <> :run_id AND w.expires_at > clock_timestamp()) "
                "FROM reconciler.lease l WHERE client_id = :client_id"
            ),
            {"client_id": client_id, "run_id": run_id},
        ).one_or_none()
        if row is not None:
            return Lease(*row)
        connection.execute(
            text(
                "INSERT INTO reconciler.lease (client_id, run_id, fence, holder, expires_at) "
                "VALUES (:client_id, '', nextval('reconciler.lease_fence'), '', '-infinity') "
                "ON CONFLICT (client_id) DO NOTHING"
            ),
            {"client_id": client_id},
        )


def take(
    connection: Connection, client_id: str, run_id: str, holder: str, seconds: float, seen: Lease
) -> int | None:
    """Take the lease exactly as it was seen: the new fence.

    None where it has been taken or renewed since, or where a transaction of the late holder has
    checked it and is still open: what that one writes must not come after us.
    """
    return connection.execute(
        text(
            "UPDATE reconciler.lease SET run_id = :run_id, holder = :holder, "
            "fence = nextval('reconciler.lease_fence'), taken_at = clock_timestamp(), "
            "renewed_at = clock_timestamp(), "
            "expires_at = clock_timestamp() + make_interval(secs => :seconds) "
            "WHERE client_id = (SELECT client_id FROM reconciler.lease "
            "WHERE client_id = :client_id AND fence = :fence AND renewed_at = :renewed_at "
            "FOR UPDATE SKIP LOCKED) RETURNING fence"
        ),
        {
            "client_id": client_id,
            "run_id": run_id,
            "holder": holder,
            "seconds": seconds,
            "fence": seen.fence,
            "renewed_at": seen.renewed_at,
        },
    ).scalar()


def renew(connection: Connection, client_id: str, fence: int, seconds: float) -> bool:
    """Have the lease last from now on. False where it is somebody else's."""
    renewed = connection.execute(
        text(
            "UPDATE reconciler.lease SET renewed_at = clock_timestamp(), "
            "expires_at = clock_timestamp() + make_interval(secs => :seconds) "
            "WHERE client_id = :client_id AND fence = :fence"
        ),
        {"client_id": client_id, "fence": fence, "seconds": seconds},
    )
    return renewed.rowcount > 0


def let_go(connection: Connection, client_id: str, fence: int) -> None:
    """Give the lease back. Under a new fence, so that a renewal on its way finds nothing."""
    connection.execute(
        text(
            "UPDATE reconciler.lease SET fence = nextval('reconciler.lease_fence'), "
            "expires_at = '-infinity' WHERE client_id = (SELECT client_id FROM reconciler.lease "
            "WHERE client_id = :client_id AND fence = :fence FOR UPDATE SKIP LOCKED)"
        ),
        {"client_id": client_id, "fence": fence},
    )


def holder_of(connection: Connection, client_id: str) -> tuple[str, int]:
    """Run and fence of whoever holds the client; a takeover waits until this transaction ends."""
    row = connection.execute(text(_HOLDER), {"client_id": client_id}).one_or_none()
    return (row.run_id, row.fence) if row else ("", 0)


def holder_and_consent(connection: Connection, client_id: str, sync: str) -> tuple[str, int, bool]:
    """The same, and whether this sync of the client may be written: whoever takes the consent back
    waits as well. One statement, for every write begins with it.
    """
    row = connection.execute(
        text(
            f"WITH holder AS ({_HOLDER}), consent AS ({CONSENT} FOR KEY SHARE) "  # noqa: S608
            "SELECT (SELECT run_id FROM holder) AS run_id, (SELECT fence FROM holder) AS fence, "
            "(SELECT given FROM consent) AS given"
        ),
        {"client_id": client_id, "sync": sync},
    ).one()
    return row.run_id or "", row.fence or 0, bool(row.given)


def wait(connection: Connection, client_id: str, run_id: str, seconds: float) -> None:
    """Be seen by those who yield, for so long."""
    connection.execute(
        text(
            "INSERT INTO reconciler.lease_wait (client_id, run_id, expires_at) VALUES "
            "(:client_id, :run_id, clock_timestamp() + make_interval(secs => :seconds)) "
            "ON CONFLICT (client_id, run_id) DO UPDATE SET expires_at = excluded.expires_at"
        ),
        {"client_id": client_id, "run_id": run_id, "seconds": seconds},
    )


def stop_waiting(connection: Connection, client_id: str, run_id: str) -> None:
    """Be seen no more; nor those who died while they waited."""
    connection.execute(
        text(
            "DELETE FROM reconciler.lease_wait WHERE client_id = :client_id "
            "AND (run_id = :run_id OR expires_at <= clock_timestamp())"
        ),
        {"client_id": client_id, "run_id": run_id},
    )
