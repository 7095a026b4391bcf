"""How long a delta takes, and how that grows with the base: from the flag row to both sides equal.

    .venv/bin/python benchmarks/delta.py [leads ...]

Starts the demo once for each size (11,000 and 100,000 leads unless given), fills the portal, and
then measures runs with 50 changes, half of them on either side, and with one. Prints medians and
the worst; in seconds, and as multiples of what `python -c "import dagster"` takes in the same
minute: the machine's speed falls out of it.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient

RUNS = 9
# Each is asked for by itself: what the one before has called is off the call budget's second by
# then, and off the three seconds in which Airtable's whole seconds tell nothing apart.
PAUSE_SECONDS = 4.0
CHANGES = (50, 1)
WANTED = "flag row to both sides equal"
RUN = """query Run($id: ID!) { runOrError(runId: $id) { ... on Run {
    creationTime startTime endTime status } } }"""


def main() -> None:
    for leads in [int(argument) for argument in sys.argv[1:]] or [11_000, 100_000]:
        for changes, figures in measure(leads).items():
            imports = statistics.median(f["import dagster"] for f in figures)
            line = ", ".join(
                f"{name} {statistics.median(f[name] for f in figures):.2f} s" for name in figures[0]
            )
            ratios = [f[WANTED] / imports for f in figures]
            print(
                f"{leads:,} leads, {changes} changes: {line}; {WANTED}: "
                f"{statistics.median(ratios):.1f} times import dagster, worst {max(ratios):.1f}"
            )


def measure(leads: int) -> dict[int, list[dict[str, float]]]:
    """The figures of each run, by the number of changes."""
    with demo(leads) as (_, running):
        control = SandboxClient(running["airtable_endpoint_url"], DEMO_TOKEN, DEMO_BASE_ID)
        ui = running["RECONCILER_DAGSTER_URL"]
        with psycopg.connect(running["database_url"], autocommit=True) as portal:
            # The first fills the portal, the second warms up.
            for n in range(2):
                _run(portal, control, ui, n, CHANGES[0])
            return {
                changes: [
                    _run(portal, control, ui, 2 + n, changes) | {"import dagster": _import()}
                    for n in range(RUNS)
                ]
                for changes in CHANGES
            }


@contextmanager
def demo(leads: int) -> Iterator[tuple[Path, dict[str, str]]]:
    """The demo with so many leads: its state folder, and what it tells of itself."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-", ignore_cleanup_errors=True) as at:
        state = Path(at)
        state.chmod(0o755)
        log = state / "up.log"
        with log.open("w") as out:
            up = subprocess.Popen(
                [Path(sys.executable).with_name("reconciler"), "up", "--leads", str(leads)],
                # One table: each further one costs a call, and the rate lets through five a second.
                env={**os.environ, "RECONCILER_STATE_DIR": at, "RECONCILER_SYNCS": "leads"},
                stdout=out,
                stderr=out,
            )
        try:
            while "Ready after" not in log.read_text():
                assert up.poll() is None, log.read_text()
                time.sleep(0.2)
            yield state, json.loads((state / "running.json").read_text())
        finally:
            up.send_signal(signal.SIGINT)
            up.wait()


def _import() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import dagster"], check=True)
    return time.monotonic() - began


def _run(
    portal: psycopg.Connection[Any], control: SandboxClient, ui: str, n: int, changes: int
) -> dict[str, float]:
    chosen = portal.execute(
        "SELECT airtable_record_id FROM leads ORDER BY id OFFSET %s LIMIT %s", [n * 50, changes]
    )
    ids = [row[0] for row in chosen]
    time.sleep(PAUSE_SECONDS)
    half = (len(ids) + n % 2) // 2  # of one change, now this side and now that
    if ids[:half]:
        control.edit_many(
            {record_id: {"Company": f"Company {time.time()}"} for record_id in ids[:half]}
        )
    portal.execute(
        "UPDATE leads SET claimed_at = now() WHERE airtable_record_id = ANY(%s)", [ids[half:]]
    )
    asked = datetime.now(UTC).timestamp()
    request = portal.execute(
        "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients RETURNING id"
    ).fetchone()
    row = _ended(portal, request)
    done = datetime.now(UTC).timestamp()
    run = graphql(ui, RUN, id=row)["runOrError"]
    while run["endTime"] is None:
        time.sleep(0.1)
        run = graphql(ui, RUN, id=row)["runOrError"]
    return {
        "flag row to run created": run["creationTime"] - asked,
        "launch to success": run["endTime"] - run["creationTime"],
        "flag row to both sides equal": done - asked,
    }


def _ended(portal: psycopg.Connection[Any], request: Any) -> str:
    while True:
        row = portal.execute(
            "SELECT state, run_id, message FROM reconciler.manual_sync_request WHERE id = %s",
            request,
        ).fetchone()
        assert row is not None
        assert row[0] != "failed", row
        if row[0] == "succeeded":
            return str(row[1])
        time.sleep(0.05)


def graphql(ui: str, query: str, **variables: Any) -> dict[str, Any]:
    """What Dagster's UI answers to a query."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{ui}/graphql", body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return dict(json.load(answer)["data"])


if __name__ == "__main__":
    main()
