"""A run that is stopped for longer than its lease, in a real process, and then goes on: another run
has taken the client over meanwhile, and there are never two who write.

By default every few points are tried; STOP_STRIDE=1 tries them all.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil
import pytest

from reconciler_dagster.airtable.base import BATCH
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests.crash.busy import busy_copies
from reconciler_dagster_tests.crash.nursery import Nursery
from reconciler_dagster_tests.model.invariants import crash_equivalence
from reconciler_dagster_tests.world import World

STRIDE = int(os.environ.get("STOP_STRIDE", "13"))
# Batches that went side by side with the one at which the run was stopped. One that had been let
# through already cannot be called back: Airtable knows no lease.
BESIDE = """
SELECT greatest(0, ceil(count(*) / CAST(:batch AS numeric)) - 1)::int FROM reconciler.journal
WHERE run_id = :id AND state = 'sent'
"""
WRITES = "SELECT side, record_id, field FROM reconciler.history WHERE run_id = :id ORDER BY id"


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
    postgres_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with busy_copies(postgres_server, "stopped", 40) as copies, Nursery() as nursery:
        sandbox = copies.busy.sandbox
        environment = {
            "AIRTABLE_API_KEY": sandbox.token,
            "AIRTABLE_ENDPOINT_URL": sandbox.url,
            "RECONCILER_LEASE_SECONDS": "1",
            "RECONCILER_TEST_STOP": "",
        }

        case = copies.copy("crash_not_stopped")
        url = case.settings.require_database_url()
        status, effects = nursery.run(**environment, DATABASE_URL=url)
        expected = copies.settle(case, "crash_not_stopped")
        assert status == 0
        points = [f"{m} {n}" for n in range(3, effects - 2) for m in ("before", "after")]
        tried = points[::STRIDE]
        for point in tried:
            name = f"crash_stopped_{point.replace(' ', '_')}"
            case = copies.copy(name)
            url = case.settings.require_database_url()
            nursery.start(**environment | {"RECONCILER_TEST_STOP": point}, DATABASE_URL=url)
            run_id, pid = stopped(case)
            beside = case.value(BESIDE, id=run_id, batch=BATCH)
            try:
                with client_lock(case.engine, case.client.id, "takes it over", 600):
                    pass
                case.sync()
                written = case.sql(WRITES, id=run_id)
                case.sandbox.reset_calls()
            finally:
                os.kill(pid, signal.SIGCONT)
            status, _ = nursery.ended()
            assert status == 1, point  # its lease was lost
            assert case.sql(WRITES, id=run_id) == written, point
            late = [call for call in case.sandbox.calls() if call["method"] == "PATCH"]
            assert len(late) <= beside, point
            try:
                crash_equivalence(copies.settle(case, name), expected)
            except AssertionError as error:
                raise AssertionError(f"stopped {point} of {effects}: {error}") from None
    with capsys.disabled():
        print(f"\nstopped at {len(tried)} of {len(points)} points")  # noqa: T201
