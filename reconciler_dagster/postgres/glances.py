"""Glances that showed nothing. They are kept as runs are, so that to everybody who asks the client
has been synced: it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from reconciler_dagster.core.due import GLANCE
from reconciler_dagster.core.findings import Findings
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.listed import are_listed
from reconciler_dagster.postgres.runs import DRY

# A run that has ended since the glance began knows better.
_NOTE = text("""
    INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, started_at,
        finished_at, counts, findings)
    SELECT :run_id, :client_id, 'delta', :scope, 'succeeded', g.began, clock_timestamp(),
        CAST(:counts AS jsonb), CAST(:findings AS jsonb)
    FROM (SELECT clock_timestamp() - make_interval(secs => :seconds) AS began) g
    WHERE NOT EXISTS (SELECT FROM reconciler.run_summary s WHERE s.client_id = :client_id
        AND s.purpose IN ('delta', 'manual') AND s.finished_at > g.began)
    ON CONFLICT (client_id, run_id) DO NOTHING
""")
# Whoever holds the row is not waited for.
_SYNCED = text("""
    UPDATE public.clients SET last_sync_at = clock_timestamp() WHERE id = (
        SELECT id FROM public.clients WHERE id = :client_id FOR NO KEY UPDATE SKIP LOCKED)
""")
_AGE = text("""
    SELECT clock_timestamp() - max(finished_at) FROM reconciler.run_summary
    WHERE client_id = :client_id AND purpose = 'delta' AND state = 'succeeded' AND scope = :scope
        AND finished_at > clock_timestamp() - interval '1 day'
        AND jsonb_exists(findings -> 'glanced', :sync)
""")
_OWN_RUNS = text(f"""
    SELECT DISTINCT client_id::text FROM reconciler.run_summary s
    WHERE purpose IN ('delta', 'manual') AND state = 'succeeded' AND scope <> :scope AND NOT {DRY}
        AND finished_at > clock_timestamp() - :within
""")  # noqa: S608 - constants


@dataclass(frozen=True)
class Glance:
    """``seconds``: how long it took, to this moment. ``counts``: as of a run, by
    engine.counts.Counts. ``syncs``: those that were looked at.
    """

    client_id: str
    seconds: float
    counts: dict[str, int]
    syncs: list[str]


def note(connection: Connection, run_id: str, glance: Glance) -> None:
    """Sum it up under the run that has made it."""
    findings: Findings = {"glanced": glance.syncs}
    given = {
        "run_id": run_id,
        "client_id": glance.client_id,
        "scope": GLANCE,
        "seconds": glance.seconds,
        "counts": dump(glance.counts),
        "findings": dump(findings),
    }
    connection.execute(_NOTE, given)
    if not are_listed(connection):
        connection.execute(_SYNCED, {"client_id": glance.client_id})


def age(connection: Connection, pair: Pair) -> timedelta | None:
    """How long ago the last one looked at a sync; None where there was none within a day."""
    found: timedelta | None = connection.execute(_AGE, {**pair.keys, "scope": GLANCE}).scalar()
    return found


def with_own_run(connection: Connection, within: timedelta) -> set[str]:
    """The ids of the clients for whom a delta of their own has ended well of late."""
    return set(connection.execute(_OWN_RUNS, {"scope": GLANCE, "within": within}).scalars())
