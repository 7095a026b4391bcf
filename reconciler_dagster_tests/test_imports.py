"""What a command imports: counted in modules, because seconds depend on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from reconciler_dagster.config import project_file
from reconciler_dagster.postgres.migrate import newest
from reconciler_dagster_tests.world import World, world

HEAVY = ("dagster", "dagster_postgres", "pandas", "numpy", "pyairtable", "grpc")
# Each with what it must not import besides.
LOOKING = {
    "status": (["status", "--json"], ["alembic", "requests", "fastapi"]),
    "history": (["history", "recNone0000000000"], ["alembic", "requests", "fastapi"]),
    "quarantine list": (["quarantine", "list"], ["alembic", "requests", "fastapi"]),
    "deletions list": (["deletions", "list"], ["alembic", "requests", "fastapi"]),
    "doctor": (["doctor", "--json"], ["alembic", "fastapi"]),
    "migrate": (["migrate"], ["alembic", "requests", "fastapi"]),
    "psql": (["psql", "--no-such-option"], ["alembic", "requests", "sqlalchemy"]),
}
REPORT = """
import atexit, json, os, sys
from reconciler_dagster.cli import main
def report(*_):
    theirs = {name.partition(".")[0] for name in sys.modules}
    ours = {name for name in sys.modules if name.startswith("reconciler_dagster")}
    os.write(2, b"MODULES " + json.dumps(sorted(theirs | ours)).encode())
atexit.register(report)
os.execve = report  # psql: what was imported until then
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def settings(postgres_server: object, migrated_template: str) -> Iterator[dict[str, str]]:
    """Of a small portal that has been synced, so that nothing of a command is left out."""
    url = postgres_server.create_database("imports", template=migrated_template)  # type: ignore[attr-defined]
    with world(url, leads=5) as here:
        here.sync()
        yield _environment(here)
        here.engine.dispose()


def _environment(here: World) -> dict[str, str]:
    return {
        "DATABASE_URL": here.settings.require_database_url(),
        "AIRTABLE_API_KEY": here.sandbox.token,
        "AIRTABLE_ENDPOINT_URL": here.sandbox.url,
        "PORTAL_JWT_SECRET": "0123456789" * 4,
    }


def imported(code: str, arguments: list[str], settings: dict[str, str], folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | settings | {"RECONCILER_STATE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return set(json.loads(done.stderr.partition("MODULES ")[2].partition("]")[0] + "]"))


@pytest.mark.parametrize("command", LOOKING)
def test_a_command_that_looks_imports_nothing_heavy(
    command: str, settings: dict[str, str], tmp_path: Path
) -> None:
    arguments, besides = LOOKING[command]
    found = imported(REPORT, arguments, settings, tmp_path)
    assert found.isdisjoint({*HEAVY, *besides}), sorted(found & {*HEAVY, *besides})
    assert "reconciler_dagster" in found


def test_a_quiet_run_imports_no_pandas_no_server_and_no_other_definitions(
    settings: dict[str, str], tmp_path: Path
) -> None:
    found = imported(REPORT, ["run", "--json"], settings, tmp_path)
    assert "dagster" in found
    assert found.isdisjoint({"pandas", "numpy", "grpc", "fastapi", "dagster_postgres"})
    assert "reconciler_dagster.orchestration.sync_job" in found
    assert "reconciler_dagster.definitions" not in found


def test_the_portal_imports_nothing_heavy(settings: dict[str, str], tmp_path: Path) -> None:
    """The whole process, after it has answered every console page of a client."""
    code = """
import json, os, sys
from fastapi.testclient import TestClient
from reconciler_dagster.portal.app import create_app
with TestClient(create_app(), base_url="http://localhost") as client:
    assert client.get("/health").status_code == 200
    for page in ("", "/leads", "/runs", "/quarantine", "/deletions", "/conflicts", "/drift"):
        client.get(f"/console{page}")
roots = sorted({name.partition(".")[0] for name in sys.modules})
os.write(2, b"MODULES " + json.dumps(roots).encode())
"""
    found = imported(code, [], settings | {"PORTAL_DEMO": "1"}, tmp_path)
    assert found.isdisjoint(HEAVY), sorted(found & set(HEAVY))


def test_the_newest_migration_is_alembic_s_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(project_file("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [newest()]


def test_a_great_sync_begins_without_dagster() -> None:
    """Its first call has gone before Dagster is imported. What talks to Airtable is imported by
    then: no thread is to import the same modules from another end.
    """
    asked = (
        "import sys, reconciler_dagster.cli.great_sync;"
        "from reconciler_dagster.airtable.base import import_client;"
        "print(*{'dagster', 'pandas', 'pyairtable'} & sys.modules.keys());"
        "import_client();"
        "print(*{'dagster', 'pandas', 'pyairtable.api'} & sys.modules.keys())"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["", "pyairtable.api"]
