"""Every secret, through every command and every way to fail: nothing printed, stored, answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from reconciler_dagster.cli.group import COMMANDS
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.security.marked import (
    DAGSTER,
    JWT,
    MARKS,
    PORTAL,
    TOKEN,
    assert_untold,
    environment,
    left_behind,
    reconciler,
)
from reconciler_dagster_tests.world import World, world

pytestmark = pytest.mark.minutes

NOWHERE = "127.0.0.1:1/nowhere"
HTML = "<html><body>403 Forbidden</body></html>"

# Of each command: calls that end by themselves. What is missing here fails the first test.
CALLS: dict[str, list[list[str]]] = {
    "up": [],  # of what it starts: test_marked_up
    "listen": [],  # it waits for what cannot be reached
    "adopt": [["adopt", "--json"], ["adopt", "--approve"]],
    "pause": [["pause", "--client", "00000000-0000-0000-0000-000000000000"]],
    "resume": [["resume", "--client", "00000000-0000-0000-0000-000000000000"]],
    "run": [["run", "--json"]],
    "quarantine": [["quarantine", "list", "--json"], ["quarantine", "retry"]],
    "great-sync": [["great-sync", "--json", "--from", "2026-01-01"]],
    "audit": [["audit", "--json"]],
    "status": [["status", "--json"], ["status"]],
    "history": [["history", "recNone0000000000"]],
    "conflicts": [["conflicts", "--json"], ["conflicts"]],
    "deletions": [["deletions", "list", "--json"], ["deletions", "approve", "--all"]],
    "doctor": [["doctor", "--json"], ["doctor"]],
    "migrate": [["migrate", "--json"]],
    "map": [
        [
            *("map", "suggest", "--base", "appSandbox0000000", "--airtable-table", "Leads"),
            *("--postgres-table", "public.leads"),
        ]
    ],
    "psql": [["psql", "-c", "SELECT 1"], ["psql", "-c", "SELECT nonsense"]],
    "sandbox": [["sandbox", "--switch", "nonsense=1"]],
    "notify": [["notify", "list", "--json"], ["notify", "test"]],
    "deploy": [["deploy", "dagster-yaml"], ["deploy", "helm-values"], ["deploy", "manifests"]],
    "serve": [["serve", "portal", "--check"]],
    "tokens": [["tokens", "list", "--json"], ["tokens"]],
}
# Whatever the command is about, these settings are refused.
REFUSED = {
    "a token of two lines": {"AIRTABLE_API_KEY": f"{TOKEN}\r\n{TOKEN}"},
    "a token with a control character": {"AIRTABLE_API_KEY": f"{TOKEN}\x01"[:-2] + "\x01x"},
    "a token that is not latin-1": {"AIRTABLE_API_KEY": f"{TOKEN}\u20ac"},
    "a key with a line end": {"PORTAL_JWT_SECRET": f"{JWT}\n{JWT}"},
    "no scheme of Postgres": {"DATABASE_URL": f"mysql://postgres:{PORTAL}@{NOWHERE}"},
    "no scheme of Dagster's": {"DAGSTER_POSTGRES_URL": f"http://postgres:{DAGSTER}@{NOWHERE}"},
    "a blank in a URL": {"DATABASE_URL": f"postgresql://postgres:{PORTAL} @{NOWHERE}"},
    "no port": {"DATABASE_URL": f"postgresql://postgres:{PORTAL}@127.0.0.1:high/nowhere"},
    "no address": {"AIRTABLE_ENDPOINT_URL": f"ftp://ann:{TOKEN}@airtable.example"},
    "credentials in an address": {"RECONCILER_PORTAL_URL": f"https://ann:{TOKEN}@portal.example"},
}
UNREACHABLE = {
    "the portal's Postgres": {"DATABASE_URL": f"postgresql://postgres:{PORTAL}@{NOWHERE}"},
    "Dagster's Postgres": {"DAGSTER_POSTGRES_URL": f"postgresql://postgres:{DAGSTER}@{NOWHERE}"},
}
# Commands that ask neither of them.
SELF_SUFFICIENT = {"sandbox", "deploy", "serve"}  # the last of these, with --check, asks a port
WITHOUT_DAGSTER = {
    *("quarantine", "status", "history", "migrate", "map", "psql", "sandbox", "pause", "resume"),
    *("notify", "tokens", "conflicts"),
}
WAITING = {"listen"}


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=5, token=TOKEN) as here:
        here.sync()
        yield here


@pytest.fixture
def told(acme: World, empty_db: str, tmp_path: Path) -> Callable[..., tuple[list[int], str]]:
    """Run a command every way; exit codes, and what was said and left in all."""
    dagster = empty_db

    def call(command: str, **changed: str) -> tuple[list[int], str]:
        settings = environment(acme, dagster, tmp_path) | changed
        calls = CALLS[command] or [[command]]
        done = [reconciler(arguments, settings, tmp_path) for arguments in calls]
        said = "".join(one.stdout + one.stderr for one in done)
        everything = said + left_behind(tmp_path, acme.settings.require_database_url(), dagster)
        assert_untold(everything)
        return [one.returncode for one in done], said

    return call


def test_no_command_is_forgotten() -> None:
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("command", [name for name, calls in CALLS.items() if calls])
def test_a_command_that_works_tells_no_secret(
    told: Callable[..., tuple[list[int], str]], command: str
) -> None:
    codes, said = told(command)
    assert "Traceback" not in said
    assert codes


@pytest.mark.parametrize("command", COMMANDS)
def test_a_setting_that_cannot_be_is_refused_and_not_told(
    told: Callable[..., tuple[list[int], str]], command: str
) -> None:
    """Each command one of them; all of them in the next test."""
    if command in SELF_SUFFICIENT:
        told(command, **REFUSED["a token of two lines"])
        return
    codes, said = told(command, **REFUSED["a token of two lines"])
    assert set(codes) == {2}, said
    assert "AIRTABLE_API_KEY is not usable" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("why", REFUSED)
def test_every_setting_that_cannot_be_is_refused_and_not_told(
    told: Callable[..., tuple[list[int], str]], why: str
) -> None:
    (name,) = REFUSED[why]
    codes, said = told("migrate", **REFUSED[why])
    assert codes == [2], said
    assert f"Error: {name} is not usable: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("which", UNREACHABLE)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_reached_is_told_without_a_secret(
    told: Callable[..., tuple[list[int], str]], command: str, which: str
) -> None:
    (name,) = UNREACHABLE[which]
    if command in SELF_SUFFICIENT or (command in WITHOUT_DAGSTER and name.startswith("DAGSTER")):
        pytest.skip("it does not ask for it")
    if command in WAITING:
        pytest.skip("it waits")
    if command == "psql":
        told(command, **UNREACHABLE[which])  # psql's own words
        return
    listing, *others = told(command, **UNREACHABLE[which])[0]
    assert (others or [listing])[-1] == 2


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("run", {"status": 401}),
        ("run", {"status": 403, "body": HTML}),
        ("great-sync", {"status": 413, "body": HTML}),
        ("audit", {"status": 401}),
        ("doctor", {"status": 403, "body": HTML}),
        ("map", {"status": 401}),
    ],
)
def test_what_airtable_refuses_is_told_without_a_secret(
    acme: World,
    told: Callable[..., tuple[list[int], str]],
    command: str,
    answer: dict[str, object],
) -> None:
    acme.sandbox.fault("status", times=None, **answer)
    codes, said = told(command)
    assert "Traceback" not in said
    assert any(codes), said


TABLES = {  # Whose trigger raises: what becomes of it.
    "public.leads": "a cell in quarantine",
    "reconciler.baseline": "a run that fails",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_trigger_that_raises_with_secrets_in_its_text(
    acme: World, told: Callable[..., tuple[list[int], str]], table: str
) -> None:
    acme.sql(
        "CREATE FUNCTION blurt() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN RAISE 'refused, %', '{' '.join(MARKS)}'; END$$"
    )
    acme.sql(f"CREATE TRIGGER blurt BEFORE UPDATE ON {table} EXECUTE FUNCTION blurt()")
    acme.sandbox.edit(min(acme.sandbox.records()), {"Company": "Another"})
    try:
        assert told("run")[0] == [1]
        _, said = told("status")
        assert "refused, ***" in said or "in quarantine" in said
        told("quarantine")
    finally:
        acme.sql("DROP FUNCTION blurt CASCADE")  # its text is the catalogue's


def test_a_wrong_password_is_told_without_it(
    postgres_server: PostgresServer, told: Callable[..., tuple[list[int], str]], acme: World
) -> None:
    access = postgres_server.data / "pg_hba.conf"
    before = access.read_text()
    url = acme.settings.require_database_url()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'another one'")
        access.write_text(f"local all locked scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        try:
            wrong = url.replace("postgres@", f"locked:{PORTAL}@", 1)
            codes, said = told("migrate", DATABASE_URL=wrong)
        finally:
            access.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP ROLE locked")
    assert codes == [2]
    assert "does not accept this user and password" in said
