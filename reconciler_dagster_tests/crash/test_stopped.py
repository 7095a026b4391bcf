"""A run that is stopped for longer than its lease, in a real process, and then goes on: another run
has taken the client over meanwhile, and there are never two who write.

By default every few points are tried; STOP_STRIDE=1 tries them all.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from reconciler_dagster_tests.crash.busy import busy_copies
from reconciler_dagster_tests.crash.nursery import Nursery
from reconciler_dagster_tests.crash.overtaken import environment_of, overtake, run_undisturbed
from reconciler_dagster_tests.world import World

STRIDE = int(os.environ.get("STOP_STRIDE", "13"))


def stopped(case: World) -> tuple[str, int]:
    """The run that holds the client, and its process, once it has come to a stop."""
    while True:
        rows = case.sql("SELECT run_id, holder FROM reconciler.lease WHERE run_id LIKE 'run %'")
        for run_id, holder in rows:
            pid = int(holder.split()[2])
            if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                return run_id, pid
        time.sleep(0.02)


@pytest.mark.usefixtures("migrated_template")
def test_a_run_that_was_stopped_beyond_its_lease_writes_nothing_more(
    postgres_server: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with busy_copies(postgres_server, "stopped", 40) as copies, Nursery() as nursery:
        told = tmp_path / "stopped at"
        environment = environment_of(
            copies, 1, RECONCILER_TEST_STOP="", RECONCILER_TEST_STOPPED=str(told)
        )
        whole = run_undisturbed(copies, nursery, environment, "crash_not_stopped")
        effects = whole.effects
        points = [f"{m} {n}" for n in range(3, effects - 2) for m in ("before", "after")]
        tried = points[::STRIDE]
        for point in tried:
            name = f"crash_stopped_{point.replace(' ', '_')}"
            case = copies.copy(name)
            url = case.settings.require_database_url()
            nursery.start(**environment | {"RECONCILER_TEST_STOP": point}, DATABASE_URL=url)
            run_id, pid = stopped(case)
            try:
                at_a_write = told.read_text().startswith("PATCH")
                overtaken = overtake(case, run_id, at_a_write=at_a_write)
            finally:
                os.kill(pid, signal.SIGCONT)
            status, _ = nursery.ended()
            assert status == 1, point  # its lease was lost
            overtaken.require_no_more(point)
            whole.require_same_end(copies, case, name, f"stopped {point} of {effects}")
    with capsys.disabled():
        print(f"\nstopped at {len(tried)} of {len(points)} points")  # noqa: T201
