"""Runs in workers on other hosts: a real Redis, real workers, each in a process namespace of its
own, so that nobody can see from elsewhere whether their processes live.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration

pytest.importorskip("dagster_celery")

from reconciler_dagster.orchestration.automation import close_dead_runs
from reconciler_dagster.sandbox.testing import running_sandbox
from reconciler_dagster_tests import redis
from reconciler_dagster_tests.deployment import UNFINISHED, eventually
from reconciler_dagster_tests.spread import Spread, can_be_apart

pytestmark = [redis.needed, pytest.mark.minutes]
LEASE_SECONDS = "6"


@pytest.fixture(scope="module")
def spread() -> Iterator[Spread]:
    if not can_be_apart():
        pytest.skip("no process namespaces can be had here")
    with ExitStack() as held:
        name = held.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-host-"))
        Path(name).chmod(0o755)
        sandbox = held.enter_context(running_sandbox(leads=40))
        own = Spread(Path(name), sandbox, RECONCILER_LEASE_SECONDS=LEASE_SECONDS)
        held.callback(own.close)
        own.start_listener()
        own.start_worker("a@host-a")
        yield own


@pytest.fixture
def instance(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name, value in spread.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as own:
        yield own


def asked_and_stuck(spread: Spread, instance: dg.DagsterInstance) -> tuple[int, dg.DagsterRun]:
    """A run that hangs in the middle of its listing."""
    spread.sandbox.clear_faults()
    spread.sandbox.fault("hang", seconds=600, method="GET", times=1)
    request = spread.ask()
    eventually(
        lambda: (
            any(f["hits"] for f in spread.sandbox.faults())
            and spread.runs_of(instance, request)
            and spread.runs_of(instance, request)[0].status is dg.DagsterRunStatus.STARTED
        )
    )
    return request, spread.runs_of(instance, request)[0]


def process_of(spread: Spread, run: dg.DagsterRun) -> str:
    """As it names itself."""
    rows = spread.sql("SELECT process FROM reconciler.run_beat WHERE run_id = %s", run.run_id)
    return str(rows[0][0])


def monitored(instance: dg.DagsterInstance) -> bool:
    """What the daemon does every ten seconds."""
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        errors = list(execute_run_monitoring_iteration(context, logging.getLogger("test")))
    return [error for error in errors if error is not None] == []


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


def succeeds_next(spread: Spread, instance: dg.DagsterInstance) -> None:
    """And comes to its end, which is a moment after the request is answered."""
    spread.sandbox.clear_faults()
    nothing_runs(instance)
    request = spread.ask()
    eventually(lambda: spread.state(request) in ("succeeded", "failed"))
    assert spread.state(request) == "succeeded"
    nothing_runs(instance)


def nothing_runs(instance: dg.DagsterInstance) -> None:
    """Wait for it: a run that finds its client's run underway is queued, and no daemon is here."""
    underway = dg.RunsFilter(statuses=UNFINISHED)
    eventually(lambda: instance.get_runs_count(underway) == 0)


def test_a_request_is_executed_by_a_worker_that_is_warm(
    spread: Spread, instance: dg.DagsterInstance
) -> None:
    request = spread.ask()
    eventually(lambda: spread.state(request) == "succeeded")
    (run,) = spread.runs_of(instance, request)
    assert run.tags["dagster-celery/queue"] == "manual"
    eventually(lambda: status(instance, run) == "SUCCESS")
    eventually(lambda: spread.sql("SELECT count(*) FROM reconciler.run_beat") == [(0,)])
    # In a process that the worker had forked before, with everything imported.
    forked = spread.processes_of("a@host-a")[1:]
    numbers = [_number_inside(process.pid) for process in forked]
    told = [entry.message for entry in instance.all_logs(run.run_id)]
    assert any(f"Started process for run (pid: {number})." in told for number in numbers)


def test_a_run_whose_host_dies_is_closed_and_the_next_one_is_clean(
    spread: Spread, instance: dg.DagsterInstance
) -> None:
    spread.start_worker("b@host-b")
    request, run = asked_and_stuck(spread, instance)
    process = process_of(spread, run)
    host = next(
        name for name in ("a@host-a", "b@host-b") if process.split()[1] == _place(spread, name)
    )
    spread.kill(host)  # and with it, all of its namespace: as if its plug were pulled
    spread.sandbox.clear_faults()
    eventually(lambda: monitored(instance) and status(instance, run) == "FAILURE")
    told = [entry.message for entry in instance.all_logs(run.run_id)]
    assert any("no sign of life" in message for message in told), told
    # What it left open is closed, and its lease has run out.
    close_dead_runs(dg.build_sensor_context(instance=instance))
    assert spread.state(request) == "failed"
    succeeds_next(spread, instance)


def _number_inside(pid: int) -> str:
    """The number of a process as it knows itself, in its namespace; empty where it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split()[-1] for line in lines if line.startswith("NSpid")), "")


def _place(spread: Spread, name: str) -> str:
    """How processes of a host name it; see reconciler_dagster.processes."""
    worker = spread.processes_of(name)[0]
    namespace = os.readlink(f"/proc/{worker.pid}/ns/pid")
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{namespace}"


def test_a_run_whose_process_dies_is_closed_by_whoever_gets_its_task(
    spread: Spread, instance: dg.DagsterInstance
) -> None:
    spread.start_again()
    _, run = asked_and_stuck(spread, instance)
    process = process_of(spread, run)
    number = process.split()[2]
    workers = [
        name for name, one in spread._processes.items() if "@" in name and one.poll() is None
    ]
    for name in workers:
        if _place(spread, name) == process.split()[1]:
            for child in spread.processes_of(name)[1:]:
                if _number_inside(child.pid) == number:
                    child.kill()
    eventually(lambda: status(instance, run) == "FAILURE")
    succeeds_next(spread, instance)


def test_a_broker_that_is_killed_loses_no_request(
    spread: Spread, instance: dg.DagsterInstance
) -> None:
    nothing_runs(instance)
    spread.redis.kill()
    request = spread.ask()
    eventually(
        lambda: any(
            "The broker of RECONCILER_REDIS_URL is away" in entry.message
            for run in spread.runs_of(instance, request)
            for entry in instance.all_logs(run.run_id)
        )
    )
    (run,) = spread.runs_of(instance, request)
    assert status(instance, run) == "QUEUED"
    spread.redis.start()
    instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # what the daemon does

    def succeeded() -> bool:
        assert monitored(instance)
        return spread.state(request) == "succeeded"

    eventually(succeeded)
    succeeds_next(spread, instance)


def test_a_worker_goes_on_when_its_broker_dies_under_a_run(
    spread: Spread, instance: dg.DagsterInstance
) -> None:
    spread.start_again()
    nothing_runs(instance)
    workers = [name for name in ("a@host-a", "b@host-b") if spread.runs(name)]
    spread.sandbox.fault("slow", seconds=5, method="GET", times=1)
    request = spread.ask()
    eventually(lambda: any(f["hits"] for f in spread.sandbox.faults()))
    spread.redis.kill()
    eventually(lambda: spread.state(request) == "succeeded")
    spread.redis.start()
    succeeds_next(spread, instance)
    assert [name for name in ("a@host-a", "b@host-b") if spread.runs(name)] == workers


def test_a_worker_that_is_told_to_stop_ends_its_run_first(
    spread: Spread, instance: dg.DagsterInstance
) -> None:
    nothing_runs(instance)
    for name, process in list(spread._processes.items()):
        if "@" in name and process.poll() is None:
            spread.kill(name)
    spread.start_worker("c@host-c", apart=False)
    spread.sandbox.clear_faults()
    spread.sandbox.fault("slow", seconds=5, method="GET", times=1)
    request = spread.ask()
    eventually(lambda: any(f["hits"] for f in spread.sandbox.faults()))
    os.kill(spread._processes["c@host-c"].pid, signal.SIGTERM)
    spread._processes["c@host-c"].wait()
    (run,) = spread.runs_of(instance, request)
    assert status(instance, run) == "SUCCESS"
    assert spread.state(request) == "succeeded"
