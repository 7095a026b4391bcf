"""Running totals of what runs did: they only grow, whatever is pruned of the summaries.

A summary is counted once, when it has ended. Histograms are kept by the upper end of each bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from reconciler_dagster.postgres.runs import DRY

BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
RUNS, SECONDS, BUCKET = "runs", "run_seconds", "run_seconds_bucket"
CELLS, CONFLICTS, CALLS = "cells", "conflicts", "run_calls"

# One at a time counts, and whoever comes meanwhile does not wait.
_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('reconciler totals'))"
# Of a run that wrote nothing on purpose, only the run itself is counted.
_COUNT = f"""
    WITH ended AS (
        UPDATE reconciler.run_summary s SET counted = true
        WHERE ctid = ANY(ARRAY(SELECT ctid FROM reconciler.run_summary
            WHERE NOT counted AND finished_at IS NOT NULL LIMIT 10000 FOR UPDATE SKIP LOCKED))
        RETURNING s.client_id, s.purpose, s.state, s.counts, s.findings, {DRY} AS dry,
            extract(epoch FROM s.finished_at - s.started_at)::float AS seconds
    ), said AS (
        SELECT '{RUNS}' AS name, client_id,
            jsonb_build_object('purpose', purpose, 'outcome', CASE WHEN dry THEN 'dry_run'
                ELSE state END) AS labels, 1::float AS value FROM ended
        UNION ALL SELECT '{SECONDS}', client_id, jsonb_build_object('purpose', purpose), seconds
        FROM ended
        UNION ALL SELECT '{BUCKET}', client_id,
            jsonb_build_object('purpose', purpose, 'le', b.le), 1
        FROM ended CROSS JOIN unnest(CAST(:buckets AS float[])) AS b (le) WHERE seconds <= b.le
        UNION ALL SELECT '{CALLS}', client_id, jsonb_build_object('purpose', purpose),
            coalesce((counts -> 'airtable_calls')::float, 0) FROM ended
        UNION ALL SELECT '{CONFLICTS}', client_id, jsonb_build_object(),
            coalesce((counts -> 'conflicts')::float, 0) FROM ended WHERE NOT dry
        UNION ALL SELECT '{CELLS}', client_id, jsonb_build_object('direction', d.name), (
            SELECT coalesce(sum(v::float), 0)
            FROM jsonb_each(findings -> 'change_set' -> d.name) AS e (k, v))
        FROM ended CROSS JOIN (VALUES ('to_postgres'), ('to_airtable')) AS d (name)
        WHERE NOT dry AND state = 'succeeded'
    )
    INSERT INTO reconciler.total AS t (name, client_id, labels, value)
    SELECT name, client_id, labels, sum(value) FROM said GROUP BY 1, 2, 3
    ON CONFLICT (name, client_id, labels) DO UPDATE SET value = t.value + excluded.value
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class Total:
    """One running total of a client."""

    name: str
    client_id: str
    labels: dict[str, str | float]
    value: float


def count(connection: Connection) -> None:
    """Count the summaries that have ended since; nothing where somebody else is counting."""
    if connection.execute(text(_TURN)).scalar():
        connection.execute(text(_COUNT), {"buckets": list(BUCKETS)})


def load(connection: Connection) -> list[Total]:
    """All totals."""
    rows = connection.execute(
        text("SELECT name, client_id::text, labels, value FROM reconciler.total ORDER BY 1, 2, 3")
    )
    return [Total(*row) for row in rows]
