"""How a client's runs ended. It is asked every few seconds, and runs are kept for months: so each
question is answered by an index, purpose by purpose, and none reads all that is kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from reconciler_dagster.postgres.runs import TELLING, Summary

DELTAS = "ARRAY['delta', 'manual']"
PURPOSES = "ARRAY['delta', 'manual', 'audit', 'great_sync', 'rehearsal']"
# Of a row ``s`` of run_summary, as the indexes have it.
_SUCCEEDED = f"s.state = 'succeeded' AND {TELLING}"
_FAILED = f"s.state = 'failed' AND {TELLING}"


def success(which: Literal["first", "last"], client: str, purposes: str) -> str:
    """SQL for when the first or the last success of a client ended; its arguments are SQL too."""
    found = _nearest(which, _SUCCEEDED, client, purposes, "'-infinity'")
    return f"(SELECT finished_at FROM {found} AS found)"  # noqa: S608 - constants


def failure(which: Literal["first", "last"], client: str, purposes: str, after: str) -> str:
    """SQL for the row (finished_at, message, run_id) of the first or the last failure that ended
    after a moment. All as for ``success``.
    """
    return _nearest(which, _FAILED, client, purposes, after)


def _nearest(which: str, state: str, client: str, purposes: str, after: str) -> str:
    """A row at most. Postgres finds the nearest entry of the index whatever it is about, and then
    it is looked whether that is the client's: asked for the client's own alone, it may go through
    all runs by time until it comes upon one.
    """
    order, beyond, moment = ("ASC", ">", after) if which == "first" else ("DESC", "<", "'infinity'")
    return f"""(SELECT own.finished_at, own.message, own.run_id
        FROM unnest({purposes}) AS p (purpose) CROSS JOIN LATERAL (
            SELECT s.client_id, s.purpose, s.finished_at, s.message, s.run_id
            FROM reconciler.run_summary s
            WHERE {state} AND (s.client_id, s.purpose, s.finished_at) {beyond}
                ({client}, p.purpose, CAST({moment} AS timestamptz))
            ORDER BY s.client_id {order}, s.purpose {order}, s.finished_at {order} LIMIT 1
        ) AS own WHERE own.client_id = {client} AND own.purpose = p.purpose
            AND own.finished_at > {after}
        ORDER BY own.finished_at {order} LIMIT 1)"""  # noqa: S608 - constants


# Of each client whose last delta ended well: what that did and found.
_LAST_DELTAS = f"""
    SELECT c.id::text, s.run_id, s.purpose, s.scope, s.state, s.counts, s.findings, s.message
    FROM reconciler.clients() c
    CROSS JOIN LATERAL {_nearest("last", _SUCCEEDED, "c.id", DELTAS, "'-infinity'")} AS last
    JOIN reconciler.run_summary s ON s.client_id = c.id AND s.run_id = last.run_id
    WHERE c.is_active
        AND NOT EXISTS {failure("last", "c.id", DELTAS, "last.finished_at")}
"""  # noqa: S608 - constants


def last_deltas(connection: Connection) -> dict[str, Summary]:
    """What the last delta of each active client did and found, by client id; none of those whose
    last one failed, or who had none.
    """
    rows = connection.execute(text(_LAST_DELTAS))
    return {row[0]: Summary(*row) for row in rows}


def last_successes(connection: Connection, purposes: str = PURPOSES) -> dict[str, datetime]:
    """When the last success of each client ended, by id; none for those without."""
    at = success("last", "c.id", purposes)
    rows = connection.execute(
        text(f"SELECT c.id::text, {at} FROM reconciler.clients() c")  # noqa: S608 - constants
    )
    return {row[0]: row[1] for row in rows if row[1] is not None}


def last_refusals(connection: Connection, since: datetime, like: str) -> dict[str, datetime]:
    """When the last failure since then ended whose message is like that, by client id."""
    rows = connection.execute(
        text(
            "SELECT client_id::text, max(finished_at) FROM reconciler.run_summary s "  # noqa: S608
            f"WHERE {_FAILED} AND finished_at >= :since AND message LIKE :like GROUP BY client_id"
        ),
        {"since": since, "like": like},
    )
    return {row[0]: row[1] for row in rows}
