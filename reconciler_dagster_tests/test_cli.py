"""The command line: help, exit codes, one JSON object, one line for an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from reconciler_dagster.cli.group import COMMANDS, main
from reconciler_dagster.postgres.pooler import Pooling
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.sandbox.testing import running_sandbox
from reconciler_dagster_tests.pooler import Pooler

PROGRAM = Path(sys.executable).with_name("reconciler")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The installed program, from a folder that is nobody's project."""

    def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=tmp_path,
            env={**os.environ, "RECONCILER_STATE_DIR": str(tmp_path / "state"), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stdout == ""
    assert done.stderr.startswith("Error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_help_and_version(run: Run) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in shown.stdout
    assert run("--version").stdout.startswith("reconciler, version ")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from reconciler_dagster.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('dagster', 'pandas', 'sqlalchemy', 'pyairtable') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_that_fits_the_table(name: str) -> None:
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None
    assert command.name == name
    line = COMMANDS[name][1].rstrip(".")
    assert (command.help or "").startswith(line), f"{name}: the table says '{line}'"
    shown = command.get_help(click.Context(command, info_name=name))
    assert "Usage:" in shown
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, f"{name} {option.name} is not explained"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["migrate", "--sideways"], ["up", "x"]])
def test_a_wrong_call_exits_2(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["migrate", "psql"])
def test_a_missing_setting_is_one_sentence(run: Run, command: str) -> None:
    done = run(command)
    assert done.returncode == 2
    assert "DATABASE_URL is not set" in one_error(done)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("RECONCILER_OVERLAP_MINUTES", "soon"),
        ("RECONCILER_CALLS_PER_SECOND", "50"),
        ("DATABASE_URL", "not a url"),
        ("DATABASE_URL", "postgresql://me:hushhush@127.0.0.1:9/db"),
    ],
)
def test_a_wrong_setting_is_one_sentence(run: Run, setting: str, value: str) -> None:
    env = {"DATABASE_URL": "postgresql://127.0.0.1:9/db"} | {setting: value}
    done = run("migrate", **env)
    assert done.returncode == 2
    assert setting in one_error(done)
    assert "hushhush" not in done.stderr


def test_migrate_up_again_and_down(run: Run, empty_db: str) -> None:
    def answer(*arguments: str) -> Any:
        done = run("migrate", "--json", *arguments, DATABASE_URL=empty_db)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert answer() == {"direction": "up", "changed": True, "mended": []}
    assert answer() == {"direction": "up", "changed": False, "mended": []}
    assert answer("--down") == {"direction": "down", "changed": True, "mended": []}
    assert answer() == {"direction": "up", "changed": True, "mended": []}
    assert "Up to date" in run("migrate", DATABASE_URL=empty_db).stdout


def test_an_unexpected_error_is_one_line_and_a_log(run: Run, portal_db: str) -> None:
    """A migration that the database does not know goes: nobody foresaw that."""
    import psycopg

    with psycopg.connect(portal_db) as connection:
        connection.execute("UPDATE reconciler.alembic_version SET version_num = '0000'")
    done = run("migrate", "--down", DATABASE_URL=portal_db)
    assert done.returncode == 1
    line = one_error(done)
    log = Path(line.split("the whole story: ")[1].rstrip().rstrip(")"))
    assert "Traceback" in log.read_text()
    shown = run("--debug", "migrate", "--down", DATABASE_URL=portal_db)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr


def test_a_dotenv_of_the_folder_is_read_and_the_environment_wins(
    run: Run, tmp_path: Path, empty_db: str
) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL={empty_db}\n")
    assert run("migrate").returncode == 0
    assert run("migrate", DATABASE_URL="not a url").returncode == 2


@pytest.mark.parametrize("content", [b"\xff\xfeD\x00", b"DATABASE_URL=m\xfcller"])
def test_a_dotenv_that_is_no_utf_8_is_a_sentence(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    done = run("migrate")
    assert done.returncode == 2
    assert "expected a text file in UTF-8" in done.stderr


@pytest.mark.parametrize(
    "url", ["user:hushhush@127.0.0.1/db?sslmode=require", "host=127.0.0.1 hushhush"]
)
def test_psql_tells_nothing_of_what_it_cannot_read(run: Run, url: str) -> None:
    done = run("--debug", "psql", DATABASE_URL=url)
    assert done.returncode == 2
    assert "DATABASE_URL is not usable" in done.stderr
    assert "hushhush" not in done.stderr


def test_psql_gets_no_password_among_its_arguments(run: Run, empty_db: str) -> None:
    done = run("psql", "-Atc", "SELECT current_database()", DATABASE_URL=empty_db)
    assert done.stdout.strip() == empty_db.split("/")[3].split("?")[0]
    assert done.returncode == 0


def doctor(run: Run, **env: str) -> tuple[int, dict[str, tuple[str, str]]]:
    done = run("doctor", "--json", **env)
    findings = json.loads(done.stdout)["checks"]
    return done.returncode, {f["check"]: (f["state"], f["detail"]) for f in findings}


def test_doctor_with_nothing_set(run: Run) -> None:
    code, found = doctor(run)
    assert code == 2
    assert found["Postgres"][0] == "failed"
    assert "DATABASE_URL" in found["Postgres"][1]
    assert "AIRTABLE_API_KEY" in found["Airtable token"][1]
    assert found["clients"][0] == "skipped"
    assert found["Dagster storage"][0] == "ok"


def test_doctor_finds_a_pooler(run: Run, postgres_server: PostgresServer) -> None:
    direct = postgres_server.url("portal")
    assert doctor(run, DATABASE_URL=direct)[1]["pooler"] == ("ok", Pooling.NONE.value)
    with Pooler(postgres_server) as pooler:
        urls = {"DATABASE_URL": "portal", "DAGSTER_POSTGRES_URL": "dagster"}
        found = doctor(run, **{name: pooler.url(database) for name, database in urls.items()})[1]
    assert found["pooler"] == ("ok", Pooling.TRANSACTION.value)
    state, detail = found["Dagster storage"]
    assert (state, "behind a pooler in transaction mode" in detail) == ("ok", True)


def test_doctor_from_bad_to_well(run: Run, portal_db: str) -> None:
    import psycopg

    with running_sandbox(leads=3) as sandbox:
        env = {
            "DATABASE_URL": portal_db,
            "DAGSTER_POSTGRES_URL": portal_db,
            "AIRTABLE_API_KEY": sandbox.token,
            "AIRTABLE_ENDPOINT_URL": sandbox.url,
        }
        code, found = doctor(run, **env | {"AIRTABLE_API_KEY": "patWrong.token"})
        assert code == 2
        assert found["Airtable token"][0] == "failed"
        assert "patWrong.token" not in str(found)

        code, found = doctor(run, **env)
        assert (code, found["clients"][0]) == (1, "warning"), "there is no client yet"

        with psycopg.connect(portal_db) as connection:
            connection.execute(
                "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Well', %s)",
                [sandbox.base_id],
            )
        code, found = doctor(run, **env)
        assert (code, found["client Well"][0]) == (0, "ok"), found
        assert found["Dagster storage"][1].startswith("Postgres")

        with psycopg.connect(portal_db) as connection:
            connection.execute("ALTER TABLE leads ADD COLUMN region text NOT NULL")
        code, found = doctor(run, **env)
        assert (code, found["client Well"][0]) == (1, "warning")
        assert "leads.region is NOT NULL without default" in found["client Well"][1]
        with psycopg.connect(portal_db) as connection:
            connection.execute("ALTER TABLE leads DROP COLUMN region")

        sandbox.delete_field("Company")
        code, found = doctor(run, **env)
        assert (code, found["client Well"][0]) == (1, "warning")
        assert "'Company' is stopped" in found["client Well"][1]

        with psycopg.connect(portal_db) as connection:
            connection.execute(
                "INSERT INTO clients (company_name, airtable_base_id) "
                "VALUES ('Lost', 'appNoSuchBase0001')"
            )
        code, found = doctor(run, **env)
        assert (code, found["client Lost"][0]) == (2, "failed")
        assert found["client Well"][0] == "warning", "one client's trouble is its own"

    shown = run("doctor", DATABASE_URL=portal_db)
    assert shown.returncode == 2
    assert "Airtable token" in shown.stdout
