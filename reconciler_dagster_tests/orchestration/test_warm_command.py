"""Commands that a warm process executes in place of the one that was called."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.outlets import INTERRUPTED
from reconciler_dagster_tests.orchestration.launching import dagster_home, eventually, make_cold
from reconciler_dagster_tests.world import World, world

# Tells what the called process itself has imported.
CALLED = """
import atexit, os, sys
from reconciler_dagster.cli import main
atexit.register(lambda: os.write(2, b"dagster" if "dagster" in sys.modules else b"light"))
main(sys.argv[1:])
"""


@dataclass
class Console:
    """Somebody who types commands, with a warm process at hand or without."""

    home: Path
    world: World

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.begin(*arguments) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CALLED, *arguments],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DAGSTER_HOME": str(self.home),
            "RECONCILER_STATE_DIR": str(self.home),
            "DATABASE_URL": self.world.settings.require_database_url(),
            "AIRTABLE_API_KEY": self.world.sandbox.token,
            "AIRTABLE_ENDPOINT_URL": self.world.sandbox.url,
        }

    def warm_children(self) -> list[psutil.Process]:
        pid = client.parent_of(self.home)
        return psutil.Process(pid).children() if pid else []

    def hanging(self) -> tuple[subprocess.Popen[str], psutil.Process]:
        """A run that waits for Airtable, and the warm process that executes it."""
        self.world.sandbox.fault("hang", seconds=60, times=1)
        caller = self.begin("run")
        eventually(lambda: any(call["path"] for call in self.world.sandbox.calls()))
        (child,) = self.warm_children()
        return caller, child


@pytest.fixture
def console(portal_db: str) -> Iterator[Console]:
    with dagster_home() as home, world(portal_db, leads=5) as here:
        here.sync()
        here.sandbox.reset_calls()
        yield Console(home, here)


@pytest.fixture
def warm(console: Console) -> Console:
    client.ensure(console.home)
    return console


def test_it_answers_as_if_it_had_been_executed_here(warm: Console) -> None:
    (lead, *_) = sorted(warm.world.sandbox.records())
    warm.world.sandbox.edit(lead, {"Company": "Edited"})
    ran = warm.call("run", "--json")
    assert (ran.returncode, ran.stderr) == (0, "light")
    (counts,) = json.loads(ran.stdout)["clients"]
    assert (counts["client_id"], counts["local_writes"]) == (warm.world.client.id, 1)
    assert warm.world.lead(lead)["company"] == "Edited"
    looked = warm.call("status")
    assert (looked.returncode, looked.stderr) == (0, "light")
    assert "5 in Airtable" in looked.stdout


def test_its_exit_code_and_what_it_complains_of_arrive(warm: Console) -> None:
    ran = warm.call("--debug", "run", "--client", "nobody", "--scope", "everything")
    assert ran.returncode == 2
    assert "nobody" in ran.stderr
    assert ran.stderr.endswith("light")


@pytest.mark.parametrize("other", ["none", "other code", "cannot be had"])
def test_without_a_warm_process_it_is_executed_here(console: Console, other: str) -> None:
    if other == "other code":
        client.ensure(console.home)
        (next(console.home.glob("warm-*")) / "socket").unlink()
    elif other == "cannot be had":
        make_cold(console.home)
    ran = console.call("run", "--json")
    assert (ran.returncode, ran.stderr[-7:]) == (0, "dagster")
    assert json.loads(ran.stdout)["clients"][0]["airtable_calls"] > 0
    assert client.parent_of(console.home) is None if other == "none" else True


def test_ctrl_c_reaches_it(warm: Console) -> None:
    caller, child = warm.hanging()
    caller.send_signal(signal.SIGINT)
    caller.communicate()
    assert caller.returncode == INTERRUPTED
    eventually(lambda: not child.is_running())
    assert warm.world.value("SELECT state FROM reconciler.run_summary") != "started"


def test_it_is_interrupted_when_who_called_it_is_killed(warm: Console) -> None:
    caller, child = warm.hanging()
    caller.kill()
    caller.communicate()
    eventually(lambda: not child.is_running())
    assert warm.world.value("SELECT state FROM reconciler.run_summary") != "started"


def test_a_warm_process_that_is_killed_is_no_success(warm: Console) -> None:
    caller, child = warm.hanging()
    child.kill()
    _, err = caller.communicate()
    assert caller.returncode == 1
    assert "was ended from outside" in err
