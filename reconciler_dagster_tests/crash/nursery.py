"""A process with one thread that forks a real process for each run that is to be killed.

Reads a line of JSON (`environment`) for each, and answers with a line: the exit status of the
run, negative where a signal ended it, and how many effects it had. So a kill -9 costs no start-up.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from reconciler_dagster import effects
from reconciler_dagster.config import Settings
from reconciler_dagster.core.scope import CHANGED
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import connection
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster.syncs.in_force import leads
from reconciler_dagster_tests.cable import CutAt
from reconciler_dagster_tests.crash.busy import small_hundreds


def run_once(run_id: str) -> None:
    """One delta run of the only client, with the settings of the environment."""
    settings = Settings.load()
    settings.calls_per_second = 1000  # the limit is not the point here
    portal = engine(settings.require_database_url())
    with portal.connect() as opened:
        client = active_clients(opened)[0]
    session = Session(settings, portal, client, leads(settings, client.base_id), run_id, "delta")
    lock = client_lock(portal, client.id, run_id, 5, seconds=settings.lease_seconds)
    with small_hundreds(), lock:
        pull_airtable(session, CHANGED)
        pull_postgres(session)
        diff(session)
        push(session)


class Nursery:
    """The parent's end."""

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def run(self, **environment: str) -> tuple[int, int]:
        """Run once in a process of its own: its exit status, and how many effects it had."""
        self.start(**environment)
        return self.ended()

    def start(self, **environment: str) -> None:
        """Begin a run. RECONCILER_TEST_STOP, e.g. "after 7", has it stop there, and tell
        in the file RECONCILER_TEST_STOPPED at what;
        RECONCILER_TEST_CUT, number and ``cutter`` of a ``CutAt``, cuts it off from Postgres.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(environment).encode() + b"\n")
        self._process.stdin.flush()

    def has_ended(self) -> bool:
        """Whether the run that was begun is over."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def ended(self) -> tuple[int, int]:
        """Wait for the end of the run: as ``run``."""
        assert self._process.stdout is not None
        status, count = json.loads(self._process.stdout.readline())
        return status, count

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def stop_at(point: str, told: str) -> Callable[[str, str, int], None]:
    """Stops the process there, e.g. "after 7", and tells in a file at what it was."""

    def reached(moment: str, name: str, number: int) -> None:
        if f"{moment} {number}" == point:
            Path(told).write_text(name)
            os.kill(os.getpid(), signal.SIGSTOP)

    return reached


def main() -> None:
    gc.freeze()  # what has been imported is looked through by no run
    for number, line in enumerate(sys.stdin):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(json.loads(line))
                effects.kill_at = os.environ.get("RECONCILER_TEST_KILL", "")
                if os.environ.get("RECONCILER_TEST_STOP"):
                    effects._reached = stop_at(
                        os.environ["RECONCILER_TEST_STOP"], os.environ["RECONCILER_TEST_STOPPED"]
                    )
                    connection.BRIEFLY_IDLE = "1s"
                if os.environ.get("RECONCILER_TEST_CUT"):
                    place, _, cutter = os.environ["RECONCILER_TEST_CUT"].partition(" ")
                    effects.hook = CutAt(int(place), cutter)
                    connection.BRIEFLY_IDLE = "1s"
                run_once(f"run {os.getpid()} {number}")
                os.write(writer, str(effects.count).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        done = os.read(reader, 20)
        os.close(reader)
        answer = [os.waitstatus_to_exitcode(status), int(done or 0)]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
