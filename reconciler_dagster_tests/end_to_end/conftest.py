"""One running `reconciler up` for all end-to-end tests, with real processes throughout."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient

# Generous: how long things take is measured, and decides nothing.
CEILING = 240
PROGRAM = Path(sys.executable).with_name("reconciler")


@dataclass
class Demo:
    """The running demo, as its user finds it."""

    state: Path
    portal: str
    dagster: str
    sandbox: SandboxClient
    database: str

    def cells(self, record_id: str) -> dict[str, Any]:
        """What a record holds in Airtable."""
        return dict(self.sandbox.record(record_id)["fields"])

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A statement in the portal's database, in a transaction of its own."""
        with psycopg.connect(self.database) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def reconciler(self, *arguments: str) -> dict[str, Any]:
        """A command in another terminal, in another folder; its JSON."""
        done = subprocess.run(
            [PROGRAM, *arguments, "--json"],
            env={**os.environ, "RECONCILER_STATE_DIR": str(self.state)},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr  # 1: an earlier test left work for a person
        return dict(json.loads(done.stdout))


def until(done: Callable[[], object]) -> None:
    """Wait for something to come about."""
    deadline = time.monotonic() + CEILING
    while not done():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    state = tmp_path_factory.mktemp("demo")
    log = state / "up.log"
    # Two that start at once, in two workers, would choose the same ports.
    alone = (tmp_path_factory.getbasetemp().parent / "demo.lock").open("w")
    fcntl.flock(alone, fcntl.LOCK_EX)
    with log.open("w") as out:
        up = subprocess.Popen(
            [PROGRAM, "up", "--leads", "300"],
            env={**os.environ, "RECONCILER_STATE_DIR": str(state)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "Ready after" in log.read_text() or up.poll() is not None)
        told = log.read_text()
        assert up.poll() is None, told
        portal, dagster, sandbox = (
            re.search(rf"{name} +(http://\S+)", told)[1]  # type: ignore[index]
            for name in ("Lead portal", "Dagster UI", "Airtable sandbox")
        )
        alone.close()
        running = json.loads((state / "running.json").read_text())
        control = SandboxClient(sandbox, DEMO_TOKEN, DEMO_BASE_ID)
        yield Demo(state, portal, dagster, control, running["database_url"])
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(CEILING)
