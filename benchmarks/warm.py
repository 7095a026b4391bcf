"""Memory of the warm parent and of its runs, over many runs one after another.

    .venv/bin/python benchmarks/warm.py [runs]

Starts Postgres and a sandbox, and launches quiet deltas of one client through the warm parent
(1,000 unless given). Prints the memory of the parent (what it has for itself, USS) and of a run
(its largest resident set) at the start and at the end, as medians of a tenth of the runs each.
Exit code 1 where either has grown by more than 10 %.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import dagster as dg
import psutil

from reconciler_dagster.orchestration import doorbell, internals
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.orchestration.submission import Submission, by_sensor
from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.postgres import adoption
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.processes import number_of
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.sandbox.testing import running_sandbox

ALLOWED = 1.10
MIB = 1024 * 1024


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    parent, of_run = measure(runs)
    grown = False
    tenth = max(1, runs // 10)
    for name, figures in (("warm parent", parent), ("run", of_run)):
        # The first runs fill the portal, and the parent's own caches.
        start = statistics.median(figures[tenth : 2 * tenth])
        end = statistics.median(figures[-tenth:])
        grown = grown or end > ALLOWED * start
        print(
            f"{runs:,} runs, memory of the {name}: {start / MIB:.1f} MiB at the start, "
            f"{end / MIB:.1f} MiB at the end: {end / start:.3f} times"
        )
    sys.exit(1 if grown else 0)


def measure(runs: int) -> tuple[list[float], list[float]]:
    """The parent's memory after each run, and each run's own, in bytes."""
    with ExitStack() as held:
        name = held.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-bench-"))
        state = Path(name)
        state.chmod(0o755)
        sandbox = held.enter_context(running_sandbox(leads=200))
        sandbox.switch(calls_per_second_and_base=0, calls_per_second_and_user=0)
        server = PostgresServer(state / "postgres", durable=False)
        held.callback(server.stop)
        server.start()
        os.environ |= {
            "RECONCILER_STATE_DIR": name,
            "DATABASE_URL": server.create_database("portal"),
            "DAGSTER_POSTGRES_URL": server.create_database("dagster"),
            "AIRTABLE_API_KEY": sandbox.token,
            "AIRTABLE_ENDPOINT_URL": sandbox.url,
        }
        home = dagster_home()
        portal = engine(os.environ["DATABASE_URL"])
        upgrade(portal)
        with portal.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Acme', %s)",
                (sandbox.base_id,),
            )
            clients = active_clients(connection)
            for one in clients:
                adoption.adopt(connection, one.id, "the benchmark")
        instance = held.enter_context(dg.DagsterInstance.get())
        ensure_partitions(instance, clients)
        held.callback(client.stop, home, 10)
        client.ensure(home)
        submission = Submission(instance, "sync", by_sensor(doorbell.MANUAL_SYNC))
        return _run(instance, submission, home, clients[0].id, runs)


def _run(
    instance: dg.DagsterInstance,
    submission: internals.Submission,
    home: Path,
    client_id: str,
    runs: int,
) -> tuple[list[float], list[float]]:
    parent, of_run = [], []
    for number in range(runs):
        run_id = submission.create(client_id, f"bench {uuid4()}", {PURPOSE_TAG: "delta"})
        highest = 0
        noted: list[str] = []
        client.launch(home, run_id, internals.reference(instance), noted.append)
        process = number_of(noted[0])
        while psutil.pid_exists(process):
            highest = max(highest, _highest(process))
            time.sleep(0.02)
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.is_success, f"run {number} ended as {run.status}"
        of_run.append(float(highest))
        pid = client.parent_of(home)
        assert pid is not None
        parent.append(float(psutil.Process(pid).memory_full_info().uss))
        if (number + 1) % 100 == 0:
            print(f"{number + 1} runs", file=sys.stderr, flush=True)
    return parent, of_run


def _highest(process: int) -> int:
    """The largest resident set so far, in bytes; 0 where the process has just ended."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    main()
