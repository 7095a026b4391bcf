"""Running totals of what runs did: they only grow, whatever is pruned of the summaries.

A summary is counted once, when it has ended. Histograms are kept by the upper end of each bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from reconciler_dagster.core.due import GLANCE
from reconciler_dagster.postgres.runs import DRY

BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
RUNS, SECONDS, BUCKET = "runs", "run_seconds", "run_seconds_bucket"
CELLS, CONFLICTS, CALLS = "cells", "conflicts", "run_calls"
LAG_BUCKETS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 86400.0)
LAGS, LAG_SECONDS, LAG_BUCKET = "lags", "lag_seconds", "lag_seconds_bucket"

# One at a time counts, and whoever comes meanwhile does not wait.
_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('reconciler totals'))"
_ADD = """
    INSERT INTO reconciler.total AS t (name, client_id, labels, value)
    SELECT name, client_id, labels, sum(value) FROM said GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (name, client_id, labels) DO UPDATE SET value = t.value + excluded.value
"""
# Of a run that wrote nothing on purpose, only the run itself is counted.
_COUNT = f"""
    WITH ended AS (
        UPDATE reconciler.run_summary s SET counted = true
        WHERE ctid = ANY(ARRAY(SELECT ctid FROM reconciler.run_summary
            WHERE NOT counted AND finished_at IS NOT NULL LIMIT 10000 FOR UPDATE SKIP LOCKED))
        RETURNING s.client_id, s.state, CASE s.scope WHEN '{GLANCE}' THEN s.scope ELSE s.purpose END
            AS purpose, s.counts, s.findings, {DRY} AS dry,
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
    {_ADD}
"""  # noqa: S608 - constants
_ARRIVED = f"""
    WITH arrived AS (
        SELECT jsonb_build_object('direction', direction) AS labels, seconds, leads
        FROM unnest(CAST(:directions AS text[]), CAST(:seconds AS float[]), CAST(:leads AS int[]))
            AS a (direction, seconds, leads)
    ), said AS (
        SELECT '{LAGS}' AS name, CAST(:client_id AS uuid) AS client_id, labels, leads AS value
        FROM arrived
        UNION ALL SELECT '{LAG_SECONDS}', :client_id, labels, seconds * leads FROM arrived
        UNION ALL SELECT '{LAG_BUCKET}', :client_id, labels || jsonb_build_object('le', b.le), leads
        FROM arrived CROSS JOIN unnest(CAST(:buckets AS float[])) AS b (le) WHERE seconds <= b.le
    )
    {_ADD}
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


@dataclass(frozen=True)
class Arrived:
    """Edits that have arrived: of so many leads, after so many seconds."""

    direction: Literal["to_airtable", "to_postgres"]
    seconds: float
    leads: int = 1


def add_arrived(connection: Connection, client_id: str, arrived: Sequence[Arrived]) -> None:
    """Count how long edits took."""
    if arrived:
        connection.execute(
            text(_ARRIVED),
            {
                "client_id": client_id,
                "directions": [each.direction for each in arrived],
                "seconds": [float(each.seconds) for each in arrived],
                "leads": [each.leads for each in arrived],
                "buckets": list(LAG_BUCKETS),
            },
        )


def load(connection: Connection) -> list[Total]:
    """All totals."""
    rows = connection.execute(
        text("SELECT name, client_id::text, labels, value FROM reconciler.total ORDER BY 1, 2, 3")
    )
    return [Total(*row) for row in rows]
