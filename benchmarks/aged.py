"""What a portal costs that has run for months: `python benchmarks/aged.py [clients] [days]`.

Starts the demo with so many clients of 40 leads each (20 unless given), gives each the runs, the
history and the calls of so many days (90 unless given), and lets it stand idle for a minute. Prints
the share of a processor core that each part of the system used meanwhile, and the statements that
took Postgres long.
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg
from capacity import fill, processor_time  # beside this file
from delta import demo

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient

DEFAULTS = ["20", "90"]
LEADS = 40
IDLE_SECONDS = 60
SLOW_MS = 10
# A delta each quarter of an hour, an audit each hour, 200 changes a day, and their calls.
AGE = (
    """INSERT INTO reconciler.run_summary (client_id, run_id, purpose, scope, state, started_at,
        finished_at, counts, findings, counted)
    SELECT c.id, gen_random_uuid()::text, p.purpose, 'as ever', 'succeeded', t,
        t + interval '2 s', '{"airtable_calls": 1}', p.findings, true
    FROM clients c, (VALUES
        ('delta', interval '15 min', jsonb '{"unanswered": 0, "fights": [], "dry_run": false}'),
        ('audit', interval '1 hour', '{"months": ["2026-01"], "drift": [], "doubts": []}')
    ) AS p (purpose, every, findings),
    generate_series(
        now() - make_interval(days => %(days)s), now() - interval '1 min', p.every) AS t""",
    """INSERT INTO reconciler.history (run_id, client_id, lead_id, record_id, field, side,
        old_value, new_value, changed_at)
    SELECT 'aged', client_id, id, airtable_record_id, 'company', 'postgres', '"a"', '"b"',
        now() - random() * make_interval(days => %(days)s)
    FROM leads, generate_series(1, 200 * %(days)s / %(leads)s)""",
    """INSERT INTO reconciler.journal (run_id, client_id, lead_id, record_id, fields, state,
        planned_at, sent_at, acknowledged_at)
    SELECT run_id, client_id, lead_id, record_id, '{"company": "b"}', 'acknowledged', changed_at,
        changed_at, changed_at FROM reconciler.history WHERE run_id = 'aged'""",
    """INSERT INTO reconciler.call_log (base_id, hour, purpose, calls)
    SELECT airtable_base_id, date_trunc('hour', t), p, 5 FROM clients,
        unnest(ARRAY['delta', 'audit', 'manual']) AS p, generate_series(
            now() - make_interval(days => %(days)s), now() - interval '1 h', interval '1 h') AS t
    ON CONFLICT DO NOTHING""",
)
STATEMENT = re.compile(
    rb"duration: ([\d.]+) ms  (?:statement|execute[^:]*): (.*?)(?=\n\d{4}-\d\d-\d\d |\Z)", re.DOTALL
)


def main() -> None:
    clients, days = (int(given) for given in [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]])
    with demo(LEADS) as (state, running):
        control = SandboxClient(running["airtable_endpoint_url"], DEMO_TOKEN, DEMO_BASE_ID)
        with psycopg.connect(running["database_url"], autocommit=True) as portal:
            fill(portal, control, clients)
            _age(portal, days)
            print(f"{clients} clients, {days} days: {_idle(portal, state, int(running['pid']))}")


def _age(portal: psycopg.Connection[Any], days: int) -> None:
    for statement in AGE:
        portal.execute(statement, {"days": days, "leads": LEADS})
    portal.execute("VACUUM ANALYZE")


def _idle(portal: psycopg.Connection[Any], state: Path, up: int) -> str:
    log = next(state.rglob("postgres.log"))
    portal.execute(f"ALTER SYSTEM SET log_min_duration_statement = {SLOW_MS}")
    portal.execute("SELECT pg_reload_conf()")
    time.sleep(1)
    logged, before, began = log.stat().st_size, processor_time(state, up), time.monotonic()
    time.sleep(IDLE_SECONDS)
    used, lasted = processor_time(state, up), time.monotonic() - began
    used.subtract(before)
    parts = ", ".join(f"{name} {seconds / lasted:.1%}" for name, seconds in used.most_common())
    slow = defaultdict[str, list[float]](list)
    for milliseconds, statement in STATEMENT.findall(log.read_bytes()[logged:]):
        slow[" ".join(statement.decode().split())].append(float(milliseconds))
    lines = [
        f"  {len(took)} times, {sum(took):.0f} ms: {statement[:150]}"
        for statement, took in sorted(slow.items(), key=lambda item: -sum(item[1]))
    ]
    return "\n".join([parts, *(lines or [f"  no statement took longer than {SLOW_MS} ms"])])


if __name__ == "__main__":
    main()
