"""The project as a deployment runs it: own Postgres, daemon and listener, each a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg

from reconciler_dagster.config import project_file
from reconciler_dagster.orchestration import doorbell
from reconciler_dagster.orchestration.alive import WARM_TAG
from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox
from reconciler_dagster_tests.adopted import ADOPT

PROGRAM = str(Path(sys.executable).with_name("reconciler"))
_CEILING = 1200
UNFINISHED = [
    getattr(dg.DagsterRunStatus, name)
    for name in ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")
]


def eventually(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _CEILING
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Deployment:
    """What one host runs, and what people and tests ask of it."""

    def __init__(self, folder: Path, sandbox: SandboxClient, **env: str) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(project_file("dagster.yaml").read_text())
        self.postgres = PostgresServer(folder / "postgres")
        self.postgres.start()
        self.database = self.postgres.create_database("portal")
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "RECONCILER_ENVIRONMENT": "production",
            "RECONCILER_STATE_DIR": str(folder),
            "DATABASE_URL": self.database,
            "DAGSTER_POSTGRES_URL": self.postgres.create_database("dagster"),
            "AIRTABLE_API_KEY": sandbox.token,
            "AIRTABLE_ENDPOINT_URL": sandbox.url,
            **env,
        }
        own = engine(self.database)
        upgrade(own)
        own.dispose()
        self.sql(
            "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Acme', %s)",
            sandbox.base_id,
        )
        self.sql(ADOPT)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], **env: str) -> subprocess.Popen[bytes]:
        """Start a process, its output in a log of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self.environment | env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        return process

    def start_listener(self, *, command: bool = False, **env: str) -> subprocess.Popen[bytes]:
        """As `up` starts it, or by `reconciler listen`; and wait for its first sign of life."""
        self.sql("DELETE FROM reconciler.listener")
        module = [sys.executable, "-m", "reconciler_dagster.orchestration.listener"]
        process = self.start("listener", [PROGRAM, "listen"] if command else module, **env)
        eventually(lambda: self.sql("SELECT 1 FROM reconciler.listener"))
        return process

    def start_listener_again(self) -> None:
        """Unless it runs, which a supervisor would see to."""
        if self._processes["listener"].poll() is not None:
            self.start_listener()

    def kill(self, name: str) -> None:
        """kill -9."""
        self._processes[name].kill()
        self._processes[name].wait()

    def end(self, name: str) -> None:
        """On purpose."""
        self._processes[name].terminate()
        self._processes[name].wait()

    def start_daemon(self) -> subprocess.Popen[bytes]:
        """With its own code server, as `dagster-daemon run -w workspace.yaml`."""
        workspace = str(project_file("workspace.yaml"))
        command = ["-m", "dagster._daemon", "run", "--workspace", workspace]
        return self.start("daemon", [sys.executable, *command])

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A statement in the portal's database, in a transaction of its own."""
        with psycopg.connect(self.database) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def ask(self) -> int:
        """Ask for a sync; the request's id."""
        rows = self.sql(
            "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients "
            "RETURNING id"
        )
        return int(rows[0][0])

    def state(self, request_id: int) -> str:
        """Of a request."""
        rows = self.sql(
            "SELECT state FROM reconciler.manual_sync_request WHERE id = %s", request_id
        )
        return str(rows[0][0])

    def runs_of(self, instance: dg.DagsterInstance, request_id: int) -> list[dg.DagsterRun]:
        """The runs that were submitted for a request, the newest first."""
        tags = {doorbell.REQUEST_TAG: str(request_id)}
        return list(instance.get_runs(dg.RunsFilter(tags=tags)))

    def process_of(self, instance: dg.DagsterInstance, request_id: int) -> int | None:
        """The process of a request's latest run, once it has begun."""
        runs = self.runs_of(instance, request_id)
        if not runs or WARM_TAG not in runs[0].tags or self.state(request_id) != "started":
            return None
        return int(runs[0].tags[WARM_TAG].split(" ")[-2])

    def close(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        client.stop(self.home, 10)
        self.postgres.stop()


@contextmanager
def deployed(leads: int = 40, **env: str) -> Iterator[Deployment]:
    """A deployment with one client; listener and daemon are started by the test."""
    with ExitStack() as held:
        name = held.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-host-"))
        Path(name).chmod(0o755)
        sandbox = held.enter_context(running_sandbox(leads=leads))
        own = Deployment(Path(name), sandbox, **env)
        held.callback(own.close)
        yield own
