"""How long a delta takes, and how that grows with the base: from the flag row to both sides equal.

    .venv/bin/python benchmarks/delta.py [leads ...]

Starts the demo once for each size (11,000 and 100,000 leads unless given), fills the portal, and
then measures a number of runs with 50 changes, half of them on either side. Prints medians, and
the ratio between the sizes: the machine's speed falls out of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient

RUNS = 7
CHANGES = 50
RUN = """query Run($id: ID!) { runOrError(runId: $id) { ... on Run {
    creationTime startTime endTime status } } }"""


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [11_000, 100_000]
    medians = {leads: measure(leads) for leads in sizes}
    first = sizes[0]
    for leads, figures in medians.items():
        line = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items())
        ratio = figures["launch to success"] / medians[first]["launch to success"]
        print(f"{leads:,} leads, {CHANGES} changes: {line}; {ratio:.2f} times {first:,} leads")


def measure(leads: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-", ignore_cleanup_errors=True) as at:
        state = Path(at)
        state.chmod(0o755)
        log = state / "up.log"
        with log.open("w") as out:
            up = subprocess.Popen(
                [Path(sys.executable).with_name("reconciler"), "up", "--leads", str(leads)],
                env={**os.environ, "RECONCILER_STATE_DIR": at},
                stdout=out,
                stderr=out,
            )
        try:
            while "Ready after" not in log.read_text():
                assert up.poll() is None, log.read_text()
                time.sleep(0.2)
            told = log.read_text()
            sandbox, dagster = (
                re.search(rf"{name} +(http://\S+)", told)[1]  # type: ignore[index]
                for name in ("Airtable sandbox", "Dagster UI")
            )
            database = json.loads((state / "running.json").read_text())["database_url"]
            control = SandboxClient(sandbox, DEMO_TOKEN, DEMO_BASE_ID)
            with psycopg.connect(database, autocommit=True) as portal:
                figures = [_run(portal, control, dagster, n) for n in range(RUNS + 2)]
        finally:
            up.send_signal(signal.SIGINT)
            up.wait()
    measured = figures[2:]  # the first fills the portal, the second warms up
    return {name: statistics.median(f[name] for f in measured) for name in measured[0]}


def _run(
    portal: psycopg.Connection[Any], control: SandboxClient, ui: str, n: int
) -> dict[str, float]:
    chosen = portal.execute(
        "SELECT airtable_record_id FROM leads ORDER BY id OFFSET %s LIMIT %s", [n * 50, CHANGES]
    )
    ids = [row[0] for row in chosen]
    half = len(ids) // 2
    if ids:
        control.edit_many({record_id: {"Company": f"Company {n}"} for record_id in ids[:half]})
    portal.execute(
        "UPDATE leads SET claimed_at = now() WHERE airtable_record_id = ANY(%s)", [ids[half:]]
    )
    asked = datetime.now(UTC).timestamp()
    request = portal.execute(
        "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients RETURNING id"
    ).fetchone()
    row = _ended(portal, request)
    done = datetime.now(UTC).timestamp()
    run = _graphql(ui, RUN, id=row)["runOrError"]
    while run["endTime"] is None:
        time.sleep(0.1)
        run = _graphql(ui, RUN, id=row)["runOrError"]
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


def _graphql(ui: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{ui}/graphql", body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return dict(json.load(answer)["data"])


if __name__ == "__main__":
    main()
