"""Run monitoring against killed processes: a real code server, real run workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from reconciler_dagster.orchestration.alive import (
    PROCESS_TAG,
    WARM_TAG,
    process_tag,
    warm_tag,
)
from reconciler_dagster.orchestration.launcher import WatchedRunLauncher
from reconciler_dagster.processes import this_process
from reconciler_dagster_tests.orchestration.launching import (
    System,
    dagster_home,
    eventually,
    make_cold,
)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with dagster_home() as own:
        monkeypatch.setenv("DAGSTER_HOME", str(own))
        yield own


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as own:
        yield own


@pytest.fixture
def system(home: Path, instance: dg.DagsterInstance) -> Iterator[System]:
    """Runs start the ordinary way, on the code server."""
    make_cold(home)
    own = System(home, instance)
    try:
        yield own
    finally:
        own.close()


def test_a_run_at_work_is_left_alone(system: System) -> None:
    run_id = system.launch()
    assert isinstance(system.instance.run_launcher, WatchedRunLauncher)
    system.monitor()
    assert system.status(run_id) is dg.DagsterRunStatus.STARTED
    system.go.touch()
    eventually(lambda: system.status(run_id) is dg.DagsterRunStatus.SUCCESS)


def test_a_killed_worker_is_cleared(system: System) -> None:
    run_id = system.launch()
    worker = system.worker(run_id)
    assert worker is not None
    worker.kill()

    def cleared() -> bool:
        system.monitor()
        return system.status(run_id) is dg.DagsterRunStatus.FAILURE

    eventually(cleared)


def test_a_killed_server_and_worker_are_cleared_in_one_poll(system: System) -> None:
    """A host that crashed: the stock launcher leaves the run STARTED for ever."""
    run_id = system.launch()
    os.killpg(system.server.pid, signal.SIGKILL)
    system.server.wait()
    system.monitor()
    assert system.status(run_id) is dg.DagsterRunStatus.FAILURE
    assert any("The run has died" in entry.message for entry in system.instance.all_logs(run_id))


def test_a_new_server_does_not_know_the_old_one_s_dead_run(system: System) -> None:
    run_id = system.launch()
    os.killpg(system.server.pid, signal.SIGKILL)
    system.kill_server()
    system.server = system.start_server()
    system.monitor()
    assert system.status(run_id) is dg.DagsterRunStatus.FAILURE


def test_a_worker_that_outlives_its_server_may_finish(system: System) -> None:
    """Also what a reload of the code under `dagster dev` looks like."""
    run_id = system.launch()
    worker = system.worker(run_id)
    assert worker is not None
    system.kill_server()
    system.monitor()
    assert system.status(run_id) is dg.DagsterRunStatus.STARTED
    system.go.touch()
    eventually(lambda: system.status(run_id) is dg.DagsterRunStatus.SUCCESS)


def test_a_server_that_hangs_has_not_lost_its_run(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler_dagster.orchestration.launcher._ANSWER_WITHIN_SECONDS", 1)
    run_id = system.launch()
    system.server.send_signal(signal.SIGSTOP)
    try:
        system.monitor()
        assert system.status(run_id) is dg.DagsterRunStatus.STARTED
    finally:
        system.server.send_signal(signal.SIGCONT)


def test_a_run_of_the_command_line_lives_as_long_as_its_process(
    instance: dg.DagsterInstance,
) -> None:
    launcher = instance.run_launcher
    code = (
        "from reconciler_dagster.orchestration.alive import *\n"
        "print(process_tag('run')[PROCESS_TAG], flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run = dg.DagsterRun("sync", "run", tags={PROCESS_TAG: process.stdout.readline().strip()})
        alive = launcher.check_run_worker_health(run)
        process.kill()
    assert alive.status is WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_a_process_on_another_host_is_beyond_judging(instance: dg.DagsterInstance) -> None:
    place = this_process().split(" ", 1)[1]
    elsewhere = dg.DagsterRun("sync", "run", tags=warm_tag("run", f"elsewhere {place}"))
    health = instance.run_launcher.check_run_worker_health(elsewhere)
    assert health.status is WorkerStatus.RUNNING


def test_a_number_used_again_is_not_the_old_process(instance: dg.DagsterInstance) -> None:
    host, pid, started = process_tag("run")[PROCESS_TAG].rsplit(" ", 2)
    earlier = f"{host} {pid} {float(started) - 3600:.2f}"
    health = instance.run_launcher.check_run_worker_health(
        dg.DagsterRun("sync", "run", tags={PROCESS_TAG: earlier})
    )
    assert health.status is WorkerStatus.FAILED


@pytest.mark.parametrize("tag", [PROCESS_TAG, WARM_TAG])
def test_the_process_of_a_run_that_is_executed_again_is_not_the_new_one_s(
    instance: dg.DagsterInstance, tag: str
) -> None:
    """Dagster copies the tags: a dead process of the first run must not fail the second."""
    host, pid, started = this_process().rsplit(" ", 2)
    tags = {tag: f"first {host} {pid} {started}0"}
    first = dg.DagsterRun("sync", "first", tags=tags)
    second = dg.DagsterRun("sync", "second", tags=tags)
    judge = instance.run_launcher.check_run_worker_health
    assert judge(first).status is WorkerStatus.FAILED
    assert judge(second).status is WorkerStatus.RUNNING
