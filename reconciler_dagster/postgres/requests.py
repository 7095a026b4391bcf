"""Requests for a sync on their way to a run: which wait, and which process submits a run for them.

The run itself takes the requests over and closes them (`runs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.core.doorbell import Edits
from reconciler_dagster.postgres import adoption
from reconciler_dagster.postgres.adoption import IS_ADOPTED
from reconciler_dagster.postgres.runs import DRY

SENSOR, LISTENER = "sensor", "listener"
# After so long the listener has launched the run that it submitted, or is dead.
LAUNCHED_WITHIN_SECONDS = 15.0
# Who asked, where it was the portal's edits.
BY_EDITS = "edits in the portal (RECONCILER_ON_EDIT)"

# Whoever holds it may submit for the request; it ends with the transaction, however that ends.
_TURN = "pg_try_advisory_xact_lock(hashtext('reconciler submit'), hashtext(CAST(id AS text)))"


@dataclass(frozen=True)
class Waiting:
    """A client whose requests are pending. ``first``: the id of the oldest one."""

    client_id: str
    first: int
    count: int


def waiting(connection: Connection) -> list[Waiting]:
    """Pending manual-sync requests of active clients, one row a client."""
    rows = connection.execute(
        text(
            "SELECT r.client_id::text, min(r.id), count(*) "
            "FROM reconciler.manual_sync_request r "
            "JOIN reconciler.clients() c ON c.id = r.client_id "
            "WHERE r.state = 'pending' AND c.is_active GROUP BY r.client_id ORDER BY min(r.id)"
        )
    )
    return [Waiting(*row) for row in rows]


def refuse_unknown(connection: Connection) -> int:
    """Fail the requests that name no active client. Returns how many."""
    return connection.execute(
        text(
            "UPDATE reconciler.manual_sync_request r SET state = 'failed', "
            "finished_at = clock_timestamp(), message = 'There is no active client with this id.' "
            "WHERE r.state = 'pending' AND NOT EXISTS "
            "(SELECT FROM reconciler.clients() c WHERE c.id = r.client_id AND c.is_active)"
        )
    ).rowcount


def refuse_unadopted(connection: Connection) -> int:
    """Fail the requests for clients that may not be written, with the reason. Returns how many."""
    refused = 0
    for standing in adoption.standings(connection).values():
        if standing.why_not:
            refused += connection.execute(
                text(
                    "UPDATE reconciler.manual_sync_request SET state = 'failed', "
                    "finished_at = clock_timestamp(), message = :why "
                    "WHERE client_id = :id AND state = 'pending'"
                ),
                {"id": standing.client_id, "why": standing.why_not},
            ).rowcount
    return refused


def claim_for_sensor(connection: Connection, request_id: int, run_key: str) -> bool:
    """Whether the sensor may ask for a run under this key, now noted as its own.

    It may ask again for what it has asked before: Dagster knows the key. What the listener has
    taken it leaves alone while that is at work; after that it asks under the listener's key, so
    Dagster finds the listener's run, and launches it if that was not done.
    """
    return (
        connection.execute(
            text(
                "UPDATE reconciler.manual_sync_request SET submitted_as = :key, "  # noqa: S608 - constants
                "submitted_by = :sensor, submitted_at = clock_timestamp() "
                "WHERE id = (SELECT id FROM reconciler.manual_sync_request "
                f"WHERE id = :id AND state = 'pending' AND {_TURN}) "
                "AND (submitted_as IS DISTINCT FROM :key OR submitted_by = :sensor OR "
                "submitted_at < clock_timestamp() - make_interval(secs => :within))"
            ),
            {
                "id": request_id,
                "key": run_key,
                "sensor": SENSOR,
                "within": LAUNCHED_WITHIN_SECONDS,
            },
        ).rowcount
        == 1
    )


@contextmanager
def claimed_by_listener(engine: Engine, request_id: int, run_key: str) -> Iterator[bool]:
    """The block creates the run that is to be launched once it is left; False: it must not.

    Nobody else submits for the request meanwhile. Where the connection is lost on the way the
    claim is not noted and the block raises: the run must not be launched, and the sensor, which
    asks under the same key, finds it and has it launched.
    """
    with engine.begin() as connection:
        # A process that was stopped in the middle does not keep the sensor away for long.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '30s'")
        free = connection.execute(
            text(
                "SELECT id FROM reconciler.manual_sync_request "  # noqa: S608 - constants
                "WHERE id = :id AND state = 'pending' AND submitted_as IS DISTINCT FROM :key "
                f"AND {_TURN}"
            ),
            {"id": request_id, "key": run_key},
        ).first()
        yield free is not None
        if free is not None:
            connection.execute(
                text(
                    "UPDATE reconciler.manual_sync_request SET submitted_as = :key, "
                    "submitted_by = :listener, submitted_at = clock_timestamp() WHERE id = :id"
                ),
                {"id": request_id, "key": run_key, "listener": LISTENER},
            )


def edits(connection: Connection) -> list[Edits]:
    """The portal's edits since each client's last delta began, dry runs aside: of clients that
    nobody has asked a sync for and whose base is not locked out.
    """
    rows = connection.execute(
        text(
            "WITH last AS MATERIALIZED (SELECT c.id, c.airtable_base_id, s.* "  # noqa: S608 - constants
            "FROM reconciler.clients() c LEFT JOIN LATERAL ("
            "SELECT started_at, counts FROM reconciler.run_summary s "
            f"WHERE client_id = c.id AND purpose IN ('delta', 'manual') AND NOT {DRY} "
            f"ORDER BY started_at DESC LIMIT 1) s ON true WHERE c.is_active AND {IS_ADOPTED} "
            "AND NOT EXISTS (SELECT FROM reconciler.manual_sync_request r "
            "WHERE r.client_id = c.id AND r.state IN ('pending', 'started')) "
            "AND NOT EXISTS (SELECT FROM reconciler.call_bucket b WHERE "
            # Airtable's ids are letters and digits; people paste blanks around them.
            "b.base_id = regexp_replace(c.airtable_base_id, '[^A-Za-z0-9]', '', 'g') "
            "AND b.locked_until > clock_timestamp())) "
            "SELECT last.id::text, "
            "extract(epoch FROM clock_timestamp() - max(u.noted_at)), "
            "extract(epoch FROM clock_timestamp() - min(u.noted_at)), "
            "extract(epoch FROM clock_timestamp() - last.started_at), "
            "coalesce((last.counts ->> 'airtable_calls')::int, 0) "
            "FROM reconciler.unsettled u JOIN last ON last.id = u.client_id "
            "WHERE u.noted_at > coalesce(last.started_at, '-infinity') "
            "GROUP BY last.id, last.started_at, last.counts"
        )
    )
    return [
        Edits(
            row[0],
            float(row[1]),
            float(row[2]),
            None if row[3] is None else float(row[3]),
            *row[4:],
        )
        for row in rows
    ]


def ask(connection: Connection, client_id: str, by: str = BY_EDITS) -> None:
    """Ask for a sync of a client, unless somebody has just done so."""
    connection.execute(
        text(
            "SELECT pg_advisory_xact_lock("
            "hashtext('reconciler.manual_sync_request'), hashtext(:client_id))"
        ),
        {"client_id": client_id},
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.manual_sync_request (client_id, requested_by) "
            "SELECT :client_id, :by WHERE NOT EXISTS (SELECT FROM reconciler.manual_sync_request "
            "WHERE client_id = :client_id AND state = 'pending')"
        ),
        {"client_id": client_id, "by": by},
    )


def just_synced(connection: Connection, seconds: float) -> set[str]:
    """The clients whose last delta ended well and began no longer ago than so many seconds."""
    return set(
        connection.execute(
            text(
                "SELECT DISTINCT client_id::text FROM reconciler.run_summary s "  # noqa: S608 - constants
                f"WHERE purpose IN ('delta', 'manual') AND state = 'succeeded' AND NOT {DRY} "
                # By the end of the run, for which there is an index; and it began before.
                "AND finished_at > statement_timestamp() - make_interval(secs => :seconds) "
                "AND started_at > statement_timestamp() - make_interval(secs => :seconds)"
            ),
            {"seconds": seconds},
        ).scalars()
    )
