"""How many quiet clients a quarter of an hour holds: `python benchmarks/capacity.py [clients ...]`.

Starts the demo, gives the sandbox one base of 20 leads a client (50, 200 and 1,000 clients unless
given), and waits for each to have been met. Then it waits for the schedule's next tick, and prints
how long the tick took, until when all runs had ended, what a run cost in processor time of the
whole machine, and how many clients a quarter of an hour holds at this pace.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any

import psutil
import psycopg
from delta import demo, graphql  # beside this file

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient

QUARTER = 900
LEADS = 20
TICK = """{ scheduleOrError(scheduleSelector: {repositoryName: "__repository__",
    repositoryLocationName: "reconciler", scheduleName: "every_15_minutes"}) { ... on Schedule {
    scheduleState { ticks(limit: 1) { timestamp endTimestamp status runIds } } } } }"""

ENDED = """SELECT count(*) FILTER (WHERE state <> 'started'),
    count(*) FILTER (WHERE state NOT IN ('started', 'succeeded'))
    FROM reconciler.run_summary WHERE purpose = 'delta' AND started_at >= %s"""


def main() -> None:
    with demo(LEADS) as (_, running):
        control = SandboxClient(running["airtable_endpoint_url"], DEMO_TOKEN, DEMO_BASE_ID)
        ui = running["RECONCILER_DAGSTER_URL"]
        with psycopg.connect(running["database_url"], autocommit=True) as portal:
            for clients in [int(argument) for argument in sys.argv[1:]] or [50, 200, 1000]:
                _fill(portal, control, clients)
                print(_measure(portal, ui, clients), flush=True)


def _fill(portal: psycopg.Connection[Any], control: SandboxClient, clients: int) -> None:
    """As many clients as wanted, each met once."""
    there = _value(portal, "SELECT count(*) FROM clients")
    for number in range(there, clients):
        base_id = f"appCapacity{number:06d}"
        control.copy_base(base_id)
        portal.execute(
            "INSERT INTO clients (company_name, airtable_base_id) VALUES (%s, %s)",
            (f"Client {number}", base_id),
        )
    portal.execute(
        "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients "
        "WHERE id NOT IN (SELECT client_id FROM reconciler.cursor)"
    )
    while _value(portal, "SELECT count(*) FROM reconciler.cursor") < clients:
        time.sleep(1)
    while _value(portal, "SELECT count(*) FROM reconciler.run_summary WHERE state = 'started'"):
        time.sleep(1)


def _measure(portal: psycopg.Connection[Any], ui: str, clients: int) -> str:
    began = (time.time() // QUARTER + 1) * QUARTER
    time.sleep(began - time.time() - 1)
    before = psutil.cpu_times()
    ended = failed = 0
    while ended < clients:
        time.sleep(0.5)
        ended, failed = _row(portal, ENDED, datetime.fromtimestamp(began, UTC))
    drained = time.time() - began
    after = psutil.cpu_times()
    busy = sum(
        getattr(after, kind) - getattr(before, kind) for kind in ("user", "system", "softirq")
    )
    (tick,) = graphql(ui, TICK)["scheduleOrError"]["scheduleState"]["ticks"]
    return (
        f"{clients:,} clients: tick {tick['endTimestamp'] - tick['timestamp']:.1f} s, all runs "
        f"ended after {drained:.0f} s ({failed} failed), {busy / clients:.2f} s of processor time "
        f"a run, {QUARTER / (drained / clients):,.0f} clients a quarter of an hour"
    )


def _value(portal: psycopg.Connection[Any], query: str) -> int:
    return int(_row(portal, query)[0])


def _row(portal: psycopg.Connection[Any], query: str, *parameters: Any) -> tuple[Any, ...]:
    row = portal.execute(query, parameters).fetchone()
    assert row is not None
    return tuple(row)


if __name__ == "__main__":
    main()
