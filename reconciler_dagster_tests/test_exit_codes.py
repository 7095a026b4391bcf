"""How a command ends: what cannot be used is one sentence and 2; who stops reading ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from reconciler_dagster.cli.looking.finding import Finding, State, tried
from reconciler_dagster_tests.adopted import ADOPT
from reconciler_dagster_tests.program import reconciler

PROGRAM = [sys.executable, "-c", "from reconciler_dagster.cli import main; main()"]
NOWHERE = "postgresql://127.0.0.1:1/nowhere"


@pytest.fixture
def run(tmp_path: Path, portal_db: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return reconciler(
            *arguments,
            cwd=tmp_path,
            env=os.environ
            | {
                "DATABASE_URL": portal_db,
                "AIRTABLE_API_KEY": "patNobody.0",
                "RECONCILER_STATE_DIR": str(tmp_path / "state"),
            }
            | env,
        )

    return call


def unusable(folder: Path) -> dict[str, dict[str, str]]:
    """By what is wrong: the settings that are."""
    a_file = folder / "file"
    a_file.write_text("")
    bad = folder / "bad"
    bad.mkdir()
    (bad / "dagster.yaml").write_text("storage: [1, 2\n")
    odd = folder / "odd"
    odd.mkdir()
    (odd / "dagster.yaml").write_text("storage:\n  nonsense: {}\n")
    missing = folder / "class"
    missing.mkdir()
    (missing / "dagster.yaml").write_text(
        "storage:\n  custom: {module: no.such.module, class: Nothing, config: {}}\n"
    )
    return {
        "a home that is a file": {"DAGSTER_HOME": str(a_file)},
        "a home that is not there": {"DAGSTER_HOME": str(folder / "none")},
        "a home that cannot be written": {"DAGSTER_HOME": "/proc/1"},
        "a home that is not absolute": {"DAGSTER_HOME": "home"},
        "no YAML": {"DAGSTER_HOME": str(bad)},
        "no settings of Dagster's": {"DAGSTER_HOME": str(odd)},
        "a class that is not there": {"DAGSTER_HOME": str(missing)},
        "no Postgres of Dagster's": {"DAGSTER_POSTGRES_URL": NOWHERE},
        "a state folder that is a file": {"RECONCILER_STATE_DIR": str(a_file)},
        "a state folder below a file": {"RECONCILER_STATE_DIR": str(a_file / "state")},
        "a state folder that cannot be written": {"RECONCILER_STATE_DIR": "/proc/state"},
    }


WRONG = [
    "a home that is a file",
    "a home that is not there",
    "a home that cannot be written",
    "a home that is not absolute",
    "no YAML",
    "no settings of Dagster's",
    "a class that is not there",
    "no Postgres of Dagster's",
    "a state folder that is a file",
    "a state folder below a file",
    "a state folder that cannot be written",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_instance_that_cannot_be_used_is_one_sentence(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, wrong: str
) -> None:
    settings = unusable(tmp_path)[wrong]
    done = run("run", "--json", **settings)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("Error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("command", ["audit", "great-sync", "deletions"])
def test_so_it_is_for_every_command_that_runs(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, command: str
) -> None:
    arguments = ["approve", "--all"] if command == "deletions" else []
    done = run(command, *arguments, DAGSTER_HOME=str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: DAGSTER_HOME is ")


@pytest.mark.parametrize(
    "wrong", ["a home that is not there", "no settings of Dagster's", "no Postgres of Dagster's"]
)
def test_so_it_is_for_the_listener(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, wrong: str
) -> None:
    done = run("listen", **unusable(tmp_path)[wrong])
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_database_that_is_not_migrated_is_a_sentence_of_the_listener(
    run: Callable[..., subprocess.CompletedProcess[str]], empty_db: str
) -> None:
    done = run("listen", DATABASE_URL=empty_db, RECONCILER_ENVIRONMENT="production")
    assert (done.returncode, done.stdout) == (2, "")
    assert "run `reconciler migrate`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_listener_of_up_ends_by_the_same_sentence(tmp_path: Path, portal_db: str) -> None:
    """Where the home has another launcher, before anything is started for it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = subprocess.run(
        [sys.executable, "-m", "reconciler_dagster.orchestration.listener"],
        env=os.environ
        | {
            "DATABASE_URL": portal_db,
            "DAGSTER_HOME": str(tmp_path / "home"),
            "RECONCILER_ENVIRONMENT": "production",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: The Dagster home has another run")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "home").glob("warm-*"))


def test_a_log_folder_that_cannot_be_written_is_a_sentence(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, portal_db: str
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "logs").write_text("")
    done = run("up", DAGSTER_POSTGRES_URL=portal_db)
    assert done.returncode == 2, done.stderr
    assert "logs cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["doctor", "--json"], ["doctor"], ["status"], ["--help"]])
def test_nobody_reads_any_more(tmp_path: Path, arguments: list[str], portal_db: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=tmp_path,
        env=os.environ
        | {"RECONCILER_STATE_DIR": str(tmp_path / "state"), "DATABASE_URL": portal_db},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    if arguments == ["status"]:  # without a client it prints nothing, on stdout
        assert done.returncode == 0
        return
    assert done.stderr == ""
    assert done.returncode == 141


def _hear_ctrl_c() -> None:
    """As in a terminal: a program that was started in the background ignores it, and so do those
    that it starts.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "sandbox", "--port", "0"],
        cwd=tmp_path,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert "Traceback" not in said
    assert "Aborted" not in said


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_ctrl_c_while_airtable_is_waited_for(tmp_path: Path, portal_db: str, command: str) -> None:
    """A run of Dagster's, too: it is ended in order, its client is told, and no other begins."""
    with psycopg.connect(portal_db) as connection:
        connection.execute(
            "INSERT INTO clients (company_name, airtable_base_id) "
            "VALUES ('One', 'appNoSuchBase0001'), ('Two', 'appNoSuchBase0002')"
        )
        connection.execute(ADOPT)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        process = subprocess.Popen(
            [*PROGRAM, command],
            cwd=tmp_path,
            env=os.environ
            | {
                "DATABASE_URL": portal_db,
                "AIRTABLE_API_KEY": "patNobody.0",
                "AIRTABLE_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "RECONCILER_STATE_DIR": str(tmp_path / "state"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_ctrl_c,
        )
        connected, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        told = process.communicate()
        connected.close()
    assert told == ("", "")
    assert process.returncode == 130
    if command == "run":
        with psycopg.connect(portal_db) as connection:
            rows = connection.execute("SELECT state, message FROM reconciler.run_summary")
            assert rows.fetchall() == [("failed", "The run was interrupted (Ctrl-C).")]


def test_doctor_keeps_a_trace_only_where_it_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path))

    def fails(error: Exception) -> Callable[[], tuple[State, str]]:
        def look() -> tuple[State, str]:
            raise error

        return look

    found = tried("a file", fails(FileNotFoundError(2, "", "/no/such")))
    assert found == Finding("a file", "failed", "/no/such: No such file or directory")
    assert list(tmp_path.rglob("*.log")) == []
    found = tried("a bug", fails(ZeroDivisionError("secret")))
    (kept,) = tmp_path.rglob("*.log")
    assert str(kept) in found.detail
