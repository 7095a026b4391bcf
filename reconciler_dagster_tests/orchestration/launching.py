"""A Dagster home with a code server and what a daemon holds, for tests that launch real runs."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import sqlalchemy
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration

from reconciler_dagster.config import project_file
from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.supervisor.ready import listens

MODULE = "reconciler_dagster_tests.orchestration.sleeper"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def dagster_home() -> Iterator[Path]:
    """A Dagster home with the project's own dagster.yaml. Short, for a socket's sake."""
    with tempfile.TemporaryDirectory(prefix="reconciler-home-") as folder:
        home = Path(folder)
        (home / "dagster.yaml").write_text(project_file("dagster.yaml").read_text())
        try:
            yield home
        finally:
            if place_of(home).is_dir():
                client.stop(home, 10)


def place_of(home: Path) -> Path:
    """Where the warm parent's folder is, made or not."""
    return home / f"warm-{platform.node()}"


def make_cold(home: Path) -> None:
    """No warm parent can be had here: its folder is a file."""
    place_of(home).touch()


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
        eventually(lambda: listens(Path(self.socket)) or server.poll() is not None)
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
        run_id = self.create_and_launch()
        eventually(lambda: self.status(run_id) is dg.DagsterRunStatus.STARTED)
        eventually(lambda: self.worker(run_id) is not None)
        return run_id

    def create_and_launch(self) -> str:
        """A run that may not have started yet; gives its id."""
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
        return run.run_id

    def ends(self, run_id: str) -> dg.DagsterRunStatus:
        """How a run ends, once it has."""
        ended = [getattr(dg.DagsterRunStatus, s) for s in ("SUCCESS", "FAILURE", "CANCELED")]
        eventually(lambda: self.status(run_id) in ended)
        return self.status(run_id)

    def told(self, run_id: str) -> str:
        """Every message of a run's event log."""
        return "\n".join(entry.message for entry in self.instance.all_logs(run_id))

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


def statements_of(engine: sqlalchemy.Engine) -> list[str]:
    """Those that it sends from now on."""
    said: list[str] = []
    sqlalchemy.event.listen(
        engine, "before_cursor_execute", lambda _, __, statement, *_more: said.append(statement)
    )
    return said
