"""Glances that showed nothing. They are kept as runs are, so that to everybody who asks the client
has been synced: it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.listed import are_listed

# What tells them from deltas that were runs of their own.
SCOPE = "glance"


@dataclass(frozen=True)
class Glance:
    """``counts``: as of a run, by engine.counts.Counts."""

    client_id: str
    began: datetime
    counts: dict[str, int]


def note(connection: Connection, run_id: str, glances: Iterable[Glance]) -> None:
    """Sum them up under the run that has made them."""
    rows = [asdict(one) | {"began": one.began.isoformat()} for one in glances]
    given = {"run_id": run_id, "scope": SCOPE, "rows": dump(rows)}
    connection.execute(
        text(
            "INSERT INTO reconciler.run_summary "
            "(run_id, client_id, purpose, scope, state, started_at, finished_at, counts) "
            "SELECT :run_id, client_id, 'delta', :scope, 'succeeded', began, clock_timestamp(), "
            "counts FROM jsonb_to_recordset(CAST(:rows AS jsonb)) "
            "AS g (client_id uuid, began timestamptz, counts jsonb) "
            "ON CONFLICT (client_id, run_id) DO NOTHING"
        ),
        given,
    )
    if not are_listed(connection):
        # In order: two that note the same clients must not wait for each other.
        connection.execute(
            text(
                "WITH glanced AS (SELECT id FROM public.clients WHERE id IN (SELECT client_id "
                "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (client_id uuid)) "
                "ORDER BY id FOR NO KEY UPDATE) "
                "UPDATE public.clients c SET last_sync_at = clock_timestamp() FROM glanced g "
                "WHERE c.id = g.id"
            ),
            given,
        )
