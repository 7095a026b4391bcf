"""`reconciler up` as a person runs it: real processes, real ports, real signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from reconciler_dagster.supervisor import demo
from reconciler_dagster.supervisor.anew import CANNOT_START, FIRST_PAUSE, LONGEST_PAUSE, Anew
from reconciler_dagster.supervisor.child import MARK, is_marked
from reconciler_dagster.supervisor.plan import Plan, substitutes
from reconciler_dagster.supervisor.stack import Stack
from reconciler_dagster.syncs.reading import SHIPPED, read_folder
from reconciler_dagster_tests.processes import command_of, has_ended

pytestmark = pytest.mark.minutes

PROGRAM = Path(sys.executable).with_name("reconciler")
PORTS = {"dagster": 23000, "sandbox": 28765, "portal": 28000}
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def fetch(url: str, query: str | None = None) -> Any:
    body = json.dumps({"query": query}).encode() if query else None
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with _http.open(request, timeout=60) as answer:
        return json.load(answer) if query else answer.status


class Up:
    """One `reconciler up`."""

    def __init__(self, state: Path, *arguments: str, **env: str) -> None:
        self.state = state
        self.output = state.parent / f"{state.name}.out"
        self._file = self.output.open("w")
        self.environment = {**os.environ, **env, "RECONCILER_STATE_DIR": str(state)}
        ports = [f"--{name}-port={port}" for name, port in PORTS.items()]
        self.process = subprocess.Popen(
            [PROGRAM, "up", "--leads", "30", *ports, *arguments],
            cwd=state.parent,
            env=self.environment,
            stdout=self._file,
            stderr=self._file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def said(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self) -> None:
        eventually(lambda: "Ready after" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def running(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.state / "running.json").read_text())
        return content

    def address(self, title: str) -> str:
        line = next(line for line in self.said().splitlines() if line.strip().startswith(title))
        return line.split()[-1]

    def processes(self) -> list[psutil.Process]:
        """Everything that lives on this state folder, Postgres included."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(MARK) == str(self.state.resolve())
                ours = marked or any(str(self.state) in word for word in process.cmdline())
                if ours and not has_ended(process):
                    found.append(process)
            except (psutil.Error, OSError):  # it has ended just now
                continue
        return found

    def commands(self) -> list[str]:
        return [command_of(process) for process in self.processes()]

    def child(self, word: str) -> psutil.Process:
        return next(p for p in self.processes() if word in command_of(p))

    def end(self, number: int = signal.SIGINT) -> int:
        """Signal it as a terminal does, and wait."""
        os.killpg(self.process.pid, number)
        return self.process.wait(timeout=120)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._file.close()


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reconciler-up-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
def up(state: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*arguments: str, **env: str) -> Up:
        started.append(Up(state, *arguments, **env))
        return started[-1]

    state.mkdir()
    yield start
    for one in started:
        one.close()


SCHEDULES = """{ schedulesOrError(repositorySelector: {repositoryName: "__repository__",
  repositoryLocationName: "reconciler"}) { ... on Schedules { results { name
  scheduleState { status } } } } }"""


def test_from_nothing_to_a_sync_and_on_after_a_restart(up: Callable[..., Up]) -> None:
    first = up()
    first.wait_until_ready()
    for title in ("Dagster UI", "Airtable sandbox", "Lead portal"):
        assert fetch(first.address(title)) == 200
    schedules = fetch(f"{first.address('Dagster UI')}/graphql", SCHEDULES)["data"]
    results = schedules["schedulesOrError"]["results"]
    assert [r["scheduleState"]["status"] for r in results] == ["RUNNING"] * len(results) != []
    assert "Nothing starts" not in first.said()

    portal = first.running()["database_url"]
    with psycopg.connect(portal, autocommit=True) as connection:
        users = connection.execute("SELECT email, role FROM users ORDER BY role DESC").fetchall()
        assert users == [
            (demo.ADMIN, "SUPER_ADMIN"),
            (demo.CLIENT_USER, "CLIENT_USER"),
            (demo.CLIENT_ADMIN, "CLIENT_ADMIN"),
        ]
        connection.execute(
            "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients"
        )

        def state_of_request() -> str:
            row = connection.execute("SELECT state FROM reconciler.manual_sync_request").fetchone()
            assert row is not None
            return str(row[0])

        eventually(lambda: state_of_request() in {"succeeded", "failed"})
        assert state_of_request() == "succeeded"
        counted = connection.execute("SELECT count(*) FROM leads").fetchone()
    assert counted is not None
    assert counted[0] >= 30

    # The listener is started anew, and takes nothing down.
    listener = first.child("orchestration.listener")
    listener.kill()
    eventually(lambda: not psutil.pid_exists(listener.pid))
    eventually(lambda: any("orchestration.listener" in c for c in first.commands()))

    # Another process finds it all, but does not send a real token to the sandbox.
    code = (
        "from reconciler_dagster.config import Settings; s = Settings.load(); "
        "print(s.require_database_url(), s.airtable_endpoint_url, s.dagster_ui_url, sep='|')"
    )
    for env, endpoint in (
        ({}, first.address("Airtable sandbox")),
        ({"AIRTABLE_API_KEY": "patReal.token"}, "https://api.airtable.com"),
    ):
        found = subprocess.check_output(
            [sys.executable, "-c", code], env=first.environment | env, text=True
        )
        assert found.strip().split("|") == [portal, endpoint, first.address("Dagster UI")]
    told = subprocess.run(
        [PROGRAM, "doctor"], env=first.environment, capture_output=True, text=True, check=False
    )
    assert "this environment: demo" in told.stdout
    assert "nothing starts by itself" not in told.stdout

    # A second one on the same folder says so, and takes nothing down.
    second = subprocess.run(
        [PROGRAM, "up"], env=first.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 2
    assert "already runs" in second.stderr
    assert second.stderr.count("\n") == 1
    assert fetch(first.address("Dagster UI")) == 200

    assert first.end(signal.SIGINT) == 0
    assert first.processes() == []
    assert not (first.state / "running.json").exists()

    again = up()
    again.wait_until_ready()
    with psycopg.connect(again.running()["database_url"]) as connection:
        row = connection.execute("SELECT count(*) FROM leads").fetchone()
        clients = connection.execute("SELECT count(*) FROM clients").fetchone()
    assert row == counted
    assert clients == (1,)
    runs = fetch(
        f"{again.address('Dagster UI')}/graphql",
        "{ runsOrError { ... on Runs { results { status } } } }",
    )
    assert "SUCCESS" in [r["status"] for r in runs["data"]["runsOrError"]["results"]]
    assert again.end(signal.SIGTERM) == 0
    assert again.processes() == []


def test_a_copy_that_says_so_starts_nothing_by_itself(up: Callable[..., Up]) -> None:
    one = up(RECONCILER_ENVIRONMENT="Staging")
    one.wait_until_ready()
    assert "RECONCILER_ENVIRONMENT is staging" in one.said()
    schedules = fetch(f"{one.address('Dagster UI')}/graphql", SCHEDULES)["data"]
    states = [r["scheduleState"]["status"] for r in schedules["schedulesOrError"]["results"]]
    assert set(states) == {"STOPPED"}
    assert not [c for c in one.commands() if "orchestration.listener" in c]
    assert one.end() == 0


def test_a_part_that_dies_takes_all_down_by_name(up: Callable[..., Up]) -> None:
    one = up()
    one.wait_until_ready()
    bystander = subprocess.Popen(["sleep", "600"])
    one.child("dagster._daemon").kill()
    assert one.process.wait(timeout=120) == 1
    assert "The daemon was killed by signal 9 (by a person, or by the system" in one.said()
    assert "daemon.log" in one.said()
    assert one.processes() == []
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_what_a_killed_up_left_running_is_cleared_away(up: Callable[..., Up]) -> None:
    first = up()
    first.wait_until_ready()
    first.process.kill()
    first.process.wait()
    orphans = {process.pid for process in first.processes()}
    assert len(orphans) >= 5
    again = up()
    again.wait_until_ready()
    assert "left running" in again.said()
    assert orphans.isdisjoint(process.pid for process in again.processes())
    assert again.end() == 0
    assert again.processes() == []


def test_real_systems_are_used_and_get_no_substitute(up: Callable[..., Up], empty_db: str) -> None:
    """Both databases are real, and so is the key; a taken port gives way."""
    with socket.create_server(("127.0.0.1", PORTS["dagster"])):
        one = up(
            "--migrate",
            DATABASE_URL=empty_db,
            DAGSTER_POSTGRES_URL=empty_db,
            AIRTABLE_API_KEY="patNot.real",
            AIRTABLE_ENDPOINT_URL="http://127.0.0.1:9",
        )
        one.wait_until_ready()
        assert f"Port {PORTS['dagster']} is taken: dagster is on " in one.said()
        assert one.address("Dagster UI") != f"http://127.0.0.1:{PORTS['dagster']}"
    commands = one.commands()
    # Whoever starts everything by hand means it to sync.
    assert one.running()["RECONCILER_ENVIRONMENT"] == "production"
    assert [c for c in commands if "orchestration.listener" in c]
    assert not [c for c in commands if "sandbox" in c or "bin/postgres" in c]
    assert not [c for c in commands if "patNot.real" in c or empty_db in c]
    assert not {"database_url", "airtable_api_key", "airtable_endpoint_url"} & set(one.running())
    assert not (one.state / "postgres").exists()
    assert "The portal is not started" in one.said()
    tried = one.said().partition("Three things to try:")[2]
    assert "No lead of a client is written before somebody has adopted the client." in tried
    assert "INSERT INTO reconciler.manual" not in tried
    with psycopg.connect(empty_db) as connection:
        assert connection.execute("SELECT count(*) FROM clients").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM public.runs").fetchone() == (0,)
    assert one.end() == 0
    assert one.processes() == []


def test_a_database_that_is_not_its_own_is_not_migrated_unasked(
    up: Callable[..., Up], empty_db: str
) -> None:
    one = up(DATABASE_URL=empty_db)
    assert one.process.wait(timeout=120) == 2
    assert "nothing was changed in it. Run `reconciler migrate` first" in one.said()
    with psycopg.connect(empty_db) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'reconciler'")
        assert found.fetchall() == []
    assert one.processes() == []


@pytest.mark.parametrize("name", ["DATABASE_URL", "DAGSTER_POSTGRES_URL"])
def test_a_dead_database_is_one_sentence(up: Callable[..., Up], name: str) -> None:
    one = up(**{name: "postgresql://someone:hushhush@127.0.0.1:9/portal"})
    assert one.process.wait(timeout=120) == 2
    errors = [line for line in one.said().splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert name in errors[0]
    assert "hushhush" not in one.said()
    assert one.processes() == []


def test_a_ctrl_c_while_starting(up: Callable[..., Up]) -> None:
    one = up()
    eventually(lambda: any("dagster api grpc" in command for command in one.commands()))
    assert one.end() == 0
    assert one.processes() == []


def test_a_listener_that_cannot_start_is_told_of_once(up: Callable[..., Up]) -> None:
    home = Path(tempfile.mkdtemp(prefix="reconciler-home-"))
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    one = up(DAGSTER_HOME=str(home))
    eventually(lambda: "The listener cannot start" in one.said() or one.process.poll() is not None)
    one.wait_until_ready()
    time.sleep(2 * FIRST_PAUSE)
    assert one.said().count("The listener cannot start: The Dagster home has another run") == 1
    assert not [c for c in one.commands() if "orchestration.listener" in c]
    assert one.end() == 0
    assert one.processes() == []
    shutil.rmtree(home)


def test_a_listener_that_ends_again_and_again_is_started_less_and_less_often() -> None:
    anew = Anew()
    pauses = []
    for _ in range(8):
        assert not anew.is_due(1, 0)
        seconds = next(s for s in range(10_000) if anew.is_due(1, s))
        pauses.append(float(seconds))
    assert pauses == [5, 10, 20, 40, 80, 160, LONGEST_PAUSE, LONGEST_PAUSE]
    assert anew.is_due(-9, 2 * LONGEST_PAUSE), "it was well for long"
    assert anew.is_due(-9, FIRST_PAUSE)
    assert not anew.is_due(CANNOT_START, 10 * LONGEST_PAUSE)
    assert anew.given_up


def test_postgres_is_stopped_whatever_fails_before(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Stack):
        def _stop_children(self) -> None:
            raise PermissionError("somebody else's home")

    state.mkdir()
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(state))
    stack = Breaks({})
    stack._take_lock()
    stack._start_postgres()
    assert stack._postgres is not None
    server = stack._postgres.process
    with pytest.raises(PermissionError):
        stack._stop()
    assert server.poll() is not None
    Stack({})._take_lock()


def test_what_another_up_has_started_is_not_ours(state: Path) -> None:
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(state)})
    process = psutil.Process(other.pid)
    eventually(lambda: "sleep" in process.cmdline())
    assert is_marked(process, state)
    assert not is_marked(process, state / "another")
    other.kill()
    other.wait()
    assert not is_marked(process, state)


OURS = Plan(portal_postgres=True, dagster_postgres=True, sandbox=True)
URLS = dict.fromkeys(("portal", "dagster", "sandbox", "ui", "console"), "http://127.0.0.1:9")


def test_the_demo_keeps_every_table_of_the_portal_unless_somebody_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(plan: Plan = OURS) -> set[str] | None:
        found = substitutes(plan, tmp_path, URLS).get("RECONCILER_SYNCS")
        return set(found.split(", ")) if found else None

    assert chosen() == set(read_folder(SHIPPED))
    assert chosen(replace(OURS, sandbox=False)) is None, "a real base is synced as it was"
    assert chosen(replace(OURS, portal_postgres=False)) is None
    for name, value in (("RECONCILER_SYNCS", "leads"), ("RECONCILER_SYNCS_FOLDER", "crm")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert chosen() is None, name
