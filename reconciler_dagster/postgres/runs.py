"""Runs as people see them: one summary a run and client, and the manual-sync requests.

A request goes pending -> started -> succeeded or failed: the run marks it. Who submits the run is
settled in `requests`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.findings import Findings
from reconciler_dagster.postgres.encoding import storable
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.listed import are_listed
from reconciler_dagster.redaction import redacted, redacted_values

# Of a row ``s`` of run_summary: the run wrote nothing, whatever it found.
DRY = "coalesce((s.findings ->> 'dry_run')::boolean, false)"
# It says how its client's runs go. What carries approved deletions out says nothing of the runs
# around it.
TELLING = f"NOT {DRY} AND s.scope <> 'deletions'"


def start(
    connection: Connection,
    client_id: str,
    run_id: str,
    purpose: str,
    scope: str,
    *,
    answers_requests: bool,
) -> None:
    """Open the summary, and take over every request if this run will satisfy them.

    A delta is called with the client's lock held: what another one had started and not finished
    belongs to a dead run, and this one answers for it. Runs over windows hold the lock only now
    and then, so of them only one of the same window is known to be dead.
    """
    connection.execute(
        text(
            "UPDATE reconciler.run_summary SET state = 'failed', "
            "finished_at = clock_timestamp(), message = 'The run was cut off: its process ended "
            "before it could say why. The next run goes on with what is left.' "
            "WHERE client_id = :client_id AND state = 'started' AND run_id <> :run_id "
            "AND CASE WHEN :windowed THEN purpose = :purpose AND scope = :scope "
            "ELSE purpose IN ('delta', 'manual') END"
        ),
        {
            "client_id": client_id,
            "run_id": run_id,
            "purpose": purpose,
            "scope": scope,
            "windowed": purpose in ("great_sync", "audit"),
        },
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope) "
            "VALUES (:run_id, :client_id, :purpose, :scope) ON CONFLICT (client_id, run_id) "
            "DO UPDATE SET state = 'started', finished_at = NULL, message = NULL"
        ),
        {"run_id": run_id, "client_id": client_id, "purpose": purpose, "scope": scope},
    )
    if answers_requests:
        connection.execute(
            text(
                "UPDATE reconciler.manual_sync_request SET state = 'started', run_id = :run_id, "
                "started_at = clock_timestamp() "
                "WHERE client_id = :client_id AND state IN ('pending', 'started')"
            ),
            {"client_id": client_id, "run_id": run_id},
        )


def refuse(
    connection: Connection,
    client_id: str,
    run_id: str,
    purpose: str,
    scope: str,
    message: str,
    findings: Findings,
) -> None:
    """A run that could not have its client: a failed summary; none where there is no such client.

    Its requests stay as they are: whoever holds the client, or the next run, answers them.
    """
    connection.execute(
        text(
            "INSERT INTO reconciler.run_summary "
            "(run_id, client_id, purpose, scope, state, finished_at, message, findings) "
            "SELECT :run_id, c.id, :purpose, :scope, 'failed', clock_timestamp(), :message, "
            "CAST(:findings AS jsonb) FROM reconciler.clients() c WHERE c.id::text = :client_id "
            "ON CONFLICT (client_id, run_id) DO UPDATE SET state = 'failed', "
            "finished_at = clock_timestamp(), message = excluded.message, "
            "findings = run_summary.findings || excluded.findings"
        ),
        {
            "client_id": client_id,
            "run_id": run_id,
            "purpose": purpose,
            "scope": scope,
            "message": storable(connection, redacted(message)[:2000]),
            "findings": storable(connection, dump(redacted_values(findings))),
        },
    )


def add_counts(
    connection: Connection, client_id: str, run_id: str, counts: dict[str, int]
) -> dict[str, int]:
    """Add one step's counts to the run's; returns the sums."""
    total = connection.execute(
        text(
            "UPDATE reconciler.run_summary SET counts = ("
            "SELECT jsonb_object_agg(k, coalesce((counts ->> k)::int, 0) + v) "
            "FROM jsonb_each_text(CAST(:counts AS jsonb)) AS e (k, t), "
            "LATERAL (SELECT CAST(t AS int) AS v) n) "
            "WHERE client_id = :client_id AND run_id = :run_id RETURNING counts"
        ),
        {"client_id": client_id, "run_id": run_id, "counts": dump(counts)},
    ).scalar()
    return dict(total or {})


def add_findings(connection: Connection, client_id: str, run_id: str, findings: Findings) -> None:
    """Note what a step found out, beside its counts."""
    noted = storable(connection, dump(redacted_values(findings)))
    connection.execute(
        text(
            "UPDATE reconciler.run_summary SET findings = findings || CAST(:findings AS jsonb) "
            "WHERE client_id = :client_id AND run_id = :run_id"
        ),
        {"client_id": client_id, "run_id": run_id, "findings": noted},
    )


@dataclass(frozen=True)
class Summary:
    """A run's summary as stored."""

    client_id: str
    run_id: str
    purpose: str
    scope: str
    state: str
    counts: dict[str, int]
    findings: Findings
    message: str | None


def summary(connection: Connection, run_id: str) -> Summary | None:
    """The summary of a run of one client; None where it never got as far."""
    return next(iter(summaries(connection, run_id)), None)


def summaries(connection: Connection, run_id: str) -> list[Summary]:
    """The summaries of a run, one a client."""
    rows = connection.execute(
        text(
            "SELECT client_id::text, run_id, purpose, scope, state, counts, findings, message "
            "FROM reconciler.run_summary WHERE run_id = :run_id ORDER BY client_id"
        ),
        {"run_id": run_id},
    )
    return [Summary(*row) for row in rows]


# It has an outcome to judge, of the last day, and the finding that is asked for. By the end of the
# run, for which there is an index.
_JUDGED = f"""s.purpose = ANY(:purposes) AND s.state <> 'started' AND {TELLING}
    AND s.finished_at > statement_timestamp() - interval '1 day'
    AND s.started_at > statement_timestamp() - interval '1 day'
    AND (CAST(:finding AS text) IS NULL OR jsonb_exists(s.findings, :finding))"""
# A run stands until later ones have looked at all its months; one without months stands for all.
_STANDING = f"""
    WITH of_month AS (
        SELECT s.client_id, s.run_id, max(s.started_at) OVER (PARTITION BY s.client_id, m.month)
            = s.started_at AS stands
        FROM reconciler.run_summary s CROSS JOIN LATERAL jsonb_array_elements_text(
            coalesce(s.findings -> 'months', '["all"]')) AS m (month) WHERE {_JUDGED}
    )
    SELECT c.company_name, s.client_id::text, s.run_id, s.purpose, s.scope, s.state, s.counts,
        s.findings, s.message
    FROM reconciler.run_summary s JOIN reconciler.clients() c ON c.id = s.client_id
    WHERE c.is_active AND (s.client_id, s.run_id) IN (
        SELECT client_id, run_id FROM of_month WHERE stands)
    ORDER BY c.company_name, s.client_id, s.started_at
"""  # noqa: S608 - constants
# Those that left any, few, come from an index of their own; of the others it is asked only whether
# one came later.
_UNANSWERED = f"""
    SELECT c.company_name, CAST(left_some.findings ->> 'unanswered' AS int)
    FROM (SELECT * FROM reconciler.run_summary s WHERE {_JUDGED}
        AND s.findings -> 'unanswered' > CAST('0' AS jsonb)) AS left_some
    JOIN reconciler.clients() c ON c.id = left_some.client_id
    WHERE c.is_active AND NOT EXISTS (
        SELECT FROM reconciler.run_summary s WHERE s.client_id = left_some.client_id
        AND s.started_at > left_some.started_at AND {_JUDGED})
    ORDER BY c.company_name, left_some.client_id
"""  # noqa: S608 - constants


def standing(
    connection: Connection, purposes: Iterable[str], finding: str | None = None
) -> list[tuple[str, Summary]]:
    """What the latest runs of every active client say, each with the client's name.

    Only of the last day. Runs that are still at work, that wrote nothing, or that did not get as
    far as to have the ``finding``, say nothing.
    """
    asked = {"purposes": list(purposes), "finding": finding}
    rows = connection.execute(text(_STANDING), asked)
    return [(row[0], Summary(*row[1:])) for row in rows]


def unanswered(connection: Connection) -> list[tuple[str, int]]:
    """By name, the active clients whose latest delta got no answer to some writes, and how many."""
    asked = {"purposes": ["delta", "manual"], "finding": "unanswered"}
    return [(row[0], row[1]) for row in connection.execute(text(_UNANSWERED), asked)]


def finish(
    connection: Connection, client_id: str, run_id: str, *, state: str, message: str | None
) -> None:
    """Close the summary and the requests that the run took over, with the counts."""
    parameters: dict[str, Any] = {
        "client_id": client_id,
        "run_id": run_id,
        "state": state,
        "message": message and storable(connection, redacted(message)),
    }
    connection.execute(
        text(
            "UPDATE reconciler.run_summary SET state = :state, message = :message, "
            "finished_at = clock_timestamp() WHERE client_id = :client_id AND run_id = :run_id"
        ),
        parameters,
    )
    connection.execute(
        text(
            "UPDATE reconciler.manual_sync_request r SET state = :state, message = :message, "
            "finished_at = clock_timestamp(), counts = s.counts FROM reconciler.run_summary s "
            "WHERE r.run_id = :run_id AND r.client_id = :client_id AND r.state = 'started' "
            "AND s.run_id = r.run_id AND s.client_id = r.client_id"
        ),
        parameters,
    )
    if state == "succeeded" and not are_listed(connection):
        connection.execute(
            text(
                "UPDATE public.clients SET last_sync_at = clock_timestamp() "  # noqa: S608
                "WHERE id = :client_id "
                "AND EXISTS (SELECT FROM reconciler.run_summary s WHERE s.client_id = :client_id "
                "AND s.run_id = :run_id AND s.purpose IN ('delta', 'manual') "
                f"AND NOT {DRY})"
            ),
            parameters,
        )


def started(connection: Connection) -> list[str]:
    """The runs that have a summary open."""
    return list(
        connection.execute(
            text("SELECT DISTINCT run_id FROM reconciler.run_summary WHERE state = 'started'")
        ).scalars()
    )


def abandon(connection: Connection, run_id: str, message: str) -> None:
    """A run that died: close what it left open, so that nobody waits for it."""
    clients = connection.execute(
        text(
            "SELECT client_id::text FROM reconciler.run_summary "
            "WHERE run_id = :run_id AND state = 'started'"
        ),
        {"run_id": run_id},
    ).scalars()
    for client_id in list(clients):
        finish(connection, client_id, run_id, state="failed", message=message)
