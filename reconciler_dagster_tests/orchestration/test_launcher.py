"""Run monitoring against killed processes: a real code server, real run workers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration

from reconciler_dagster.config import project_file
from reconciler_dagster.orchestration.launcher import (
    PROCESS_TAG,
    WatchedRunLauncher,
    process_tag,
)

MODULE = "reconciler_dagster_tests.orchestration.sleeper"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Dagster home with the project's own dagster.yaml. Short, for a socket's sake."""
    with tempfile.TemporaryDirectory(prefix="reconciler-home-") as folder:
        path = Path(folder)
        (path / "dagster.yaml").write_text(project_file("dagster.yaml").read_text())
        monkeypatch.setenv("DAGSTER_HOME", folder)
        yield path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as own:
        yield own


class System:
    """A code server and what the daemon would hold."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.socket = str(home / "code.sock")
        self.server = self.start_server()
        target = GrpcServerTarget(
            host="localhost", port=None, socket=self.socket, location_name="sleeper"
        )
        self.context = WorkspaceProcessContext(instance, target)

    def start_server(self) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster", "api", "grpc", "--socket", self.socket),
                *("--module-name", MODULE, "--location-name", "sleeper", "--log-level", "error"),
            ],
            start_new_session=True,
        )
        eventually(lambda: Path(self.socket).exists() or server.poll() is not None)
        assert server.poll() is None
        return server

    def close(self) -> None:
        self.context.__exit__(None, None, None)
        # Not SIGTERM: Dagster takes it for SIGINT, which is ignored where a shell has said so.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    @property
    def go(self) -> Path:
        return self.home / "go"

    def launch(self) -> str:
        """A run that has started and waits; gives its id."""
        request = self.context.create_request_context()
        location = request.get_code_location("sleeper")
        repository = next(iter(location.get_repositories().values()))
        job = repository.get_full_job("sleeper")
        run = self.instance.create_run_for_job(
            __import__(MODULE, fromlist=["sleeper"]).sleeper,
            run_config={"ops": {"wait_for_file": {"config": {"until": str(self.go)}}}},
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        self.instance.launch_run(run.run_id, request)
        eventually(lambda: self.status(run.run_id) is dg.DagsterRunStatus.STARTED)
        eventually(lambda: self.worker(run.run_id) is not None)
        return run.run_id

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def worker(self, run_id: str) -> psutil.Process | None:
        for entry in self.instance.all_logs(run_id):
            if entry.message.startswith("Started process for run"):
                return psutil.Process(int(entry.message.split("pid: ")[1].rstrip(").")))
        return None

    def monitor(self) -> None:
        """What the daemon does every 15 s."""
        errors = list(execute_run_monitoring_iteration(self.context, logging.getLogger("test")))
        assert [error for error in errors if error is not None] == []

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()
        Path(self.socket).unlink(missing_ok=True)


@pytest.fixture
def system(home: Path, instance: dg.DagsterInstance) -> Iterator[System]:
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
        "from reconciler_dagster.orchestration.launcher import *\n"
        "print(process_tag()[PROCESS_TAG], flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run = dg.DagsterRun("sync", tags={PROCESS_TAG: process.stdout.readline().strip()})
        alive = launcher.check_run_worker_health(run)
        process.kill()
    assert alive.status is WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_a_process_on_another_host_is_beyond_judging(instance: dg.DagsterInstance) -> None:
    tag = process_tag()[PROCESS_TAG].split(" ", 1)[1]
    elsewhere = dg.DagsterRun("sync", tags={PROCESS_TAG: f"elsewhere {tag}"})
    health = instance.run_launcher.check_run_worker_health(elsewhere)
    assert health.status is WorkerStatus.RUNNING


def test_a_number_used_again_is_not_the_old_process(instance: dg.DagsterInstance) -> None:
    host, pid, started = process_tag()[PROCESS_TAG].rsplit(" ", 2)
    earlier = f"{host} {pid} {float(started) - 3600:.2f}"
    health = instance.run_launcher.check_run_worker_health(
        dg.DagsterRun("sync", tags={PROCESS_TAG: earlier})
    )
    assert health.status is WorkerStatus.FAILED
