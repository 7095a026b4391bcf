"""How many quiet clients a quarter of an hour holds: `python benchmarks/capacity.py [clients ...]`,
with `--glances` where runs start only for those at whom a glance shows something.

Starts the demo, gives the sandbox one base of 20 leads a client (50, 200 and 1,000 clients unless
given), and waits for each to have been met. Then it waits for the schedule's next tick, and prints
how long the tick took, until when all clients had been synced, what one cost in processor time, of
which part of the system, and how many clients a quarter of an hour holds at this pace.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
from delta import demo, graphql  # beside this file

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster.supervisor.child import is_marked

QUARTER = 900
LEADS = 20
# By what stands in the command line.
PARTS = {
    "warm.parent": "runs",
    "dagster._daemon": "daemon",
    "dagster_webserver": "webserver",
    "code.sock": "code server",
    "postgres": "Postgres",
    "orchestration.listener": "listener",
    "sandbox": "sandbox",
    "portal": "portal",
}
TICK = """{ scheduleOrError(scheduleSelector: {repositoryName: "__repository__",
    repositoryLocationName: "reconciler", scheduleName: "every_15_minutes"}) { ... on Schedule {
    scheduleState { ticks(limit: 1) { timestamp endTimestamp status runIds } } } } }"""

WAITING = """SELECT count(*) FROM reconciler.manual_sync_request
    WHERE state IN ('pending', 'started')"""
ENDED = """SELECT count(*) FILTER (WHERE state <> 'started'),
    count(*) FILTER (WHERE state NOT IN ('started', 'succeeded'))
    FROM reconciler.run_summary WHERE purpose = 'delta' AND started_at >= %s"""


LAUNCH = """mutation { launchRun(executionParams: {selector: {repositoryName: "__repository__",
    repositoryLocationName: "reconciler", jobName: "glance"}}) { __typename } }"""


def main() -> None:
    wanted = [int(argument) for argument in sys.argv[1:] if argument != "--glances"]
    glances = "--glances" in sys.argv
    os.environ["RECONCILER_GLANCE_ABOVE"] = "0" if glances else "1000000"
    with demo(LEADS) as (state, running):
        control = SandboxClient(running["airtable_endpoint_url"], DEMO_TOKEN, DEMO_BASE_ID)
        with psycopg.connect(running["database_url"], autocommit=True) as portal:
            for clients in wanted or [50, 200, 1000]:
                fill(portal, control, clients)
                if glances:
                    settle(portal, running["RECONCILER_DAGSTER_URL"])
                print(_measure(portal, state, running, clients), flush=True)


def fill(portal: psycopg.Connection[Any], control: SandboxClient, clients: int) -> None:
    """As many clients as wanted, each met once."""
    # A copy has the ids of the records that it copies, and a lead can be but one client's.
    empty = control.copy_base("appCapacityEmpty0")
    for record_id in empty.records():
        empty.delete(record_id)
    there = value(portal, "SELECT count(*) FROM clients")
    for number in range(there, clients):
        base_id = f"appCapacity{number:06d}"
        base = empty.copy_base(base_id)
        for lead in range(LEADS):
            base.add({"First Name": f"Ann {lead}", "Company": f"Company {number}"})
        portal.execute(
            "WITH new AS (INSERT INTO clients (company_name, airtable_base_id) VALUES (%s, %s) "
            "RETURNING id) INSERT INTO reconciler.adoption (client_id, state, changed_by) "
            "SELECT id, 'adopted', 'the benchmark' FROM new",
            (f"Client {number}", base_id),
        )
    portal.execute(
        "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients "
        "WHERE id NOT IN (SELECT client_id FROM reconciler.cursor)"
    )
    while value(portal, "SELECT count(*) FROM reconciler.cursor") < clients:
        time.sleep(1)
    while value(portal, "SELECT count(*) FROM reconciler.run_summary WHERE state = 'started'"):
        time.sleep(1)


def settle(portal: psycopg.Connection[Any], ui: str) -> None:
    """Each client is met once more, as it takes for no edit to be overlooked, and glanced at."""
    portal.execute("INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients")
    while value(portal, WAITING):
        time.sleep(1)
    graphql(ui, LAUNCH)
    while not value(portal, "SELECT count(*) FROM reconciler.run_summary WHERE scope = 'glance'"):
        time.sleep(1)


def _measure(
    portal: psycopg.Connection[Any], state: Path, running: dict[str, Any], clients: int
) -> str:
    up, ui = int(running["pid"]), running["RECONCILER_DAGSTER_URL"]
    began = (time.time() // QUARTER + 1) * QUARTER
    time.sleep(began - time.time() - 1)
    before = processor_time(state, up)
    ended = failed = 0
    while ended < clients:
        time.sleep(0.5)
        ended, failed = _row(portal, ENDED, datetime.fromtimestamp(began, UTC))
    drained = time.time() - began
    used = processor_time(state, up)
    used.subtract(before)
    (tick,) = graphql(ui, TICK)["scheduleOrError"]["scheduleState"]["ticks"]
    return (
        f"{clients:,} clients: tick {tick['endTimestamp'] - tick['timestamp']:.1f} s, all "
        f"synced after {drained:.0f} s ({failed} failed), {used.total() / clients:.2f} s of "
        "processor time a client ("
        + ", ".join(f"{name} {seconds / clients:.2f}" for name, seconds in used.most_common())
        + f"), {QUARTER / (drained / clients):,.0f} clients a quarter of an hour"
    )


def processor_time(state: Path, up: int) -> Counter[str]:
    """Seconds that each part of the system has used, with what it has started and seen end."""
    processes = psutil.Process(up).children(recursive=True)
    processes += [p for p in psutil.process_iter() if is_marked(p, state) and p not in processes]
    used = Counter[str]()
    for process in processes:
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            part = next((name for mark, name in PARTS.items() if mark in words), "others")
            used[part] += sum(process.cpu_times()[:4])
    return used


def value(portal: psycopg.Connection[Any], query: str) -> int:
    return int(_row(portal, query)[0])


def _row(portal: psycopg.Connection[Any], query: str, *parameters: Any) -> tuple[Any, ...]:
    row = portal.execute(query, parameters).fetchone()
    assert row is not None
    return tuple(row)


if __name__ == "__main__":
    main()
