"""Runs that fail, and everything they write: neither the token nor the password is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from reconciler_dagster.config import Settings
from reconciler_dagster_tests.program import reconciler
from reconciler_dagster_tests.world import World, world

TOKEN = "patSecretSecretSe.cretSecret0123456789"
PASSWORD = "pass-word-of-the-portal"


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=5, token=TOKEN) as here:
        here.sync()
        yield here


def run(acme: World, folder: Path, **environment: str) -> str:
    """`reconciler run` in a process of its own; everything that it said and left behind."""
    url = acme.settings.require_database_url().replace("postgres@", f"postgres:{PASSWORD}@")
    assert PASSWORD in url
    settings = {
        "DATABASE_URL": url,
        "AIRTABLE_API_KEY": TOKEN,
        "AIRTABLE_ENDPOINT_URL": acme.sandbox.url,
        "RECONCILER_STATE_DIR": str(folder),
        "RECONCILER_RETRY_SECONDS": "0.01",
    }
    env = os.environ | settings | environment
    ran = reconciler("--debug", "run", env=env, cwd=folder)
    assert ran.returncode != 0
    assert ran.stderr
    # Dagster's storage with the run's events, and the logs.
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return ran.stdout + ran.stderr + "".join(file.decode("latin-1") for file in files)


def rows(acme: World) -> str:
    """Every row of the engine's own schema."""
    tables = acme.sql(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'reconciler'"
    )
    with acme.engine.connect() as connection:
        return "".join(
            str(connection.execute(text(f"SELECT t::text FROM reconciler.{name} t")).all())  # noqa: S608
            for (name,) in tables
        )


FAILURES = {
    "refused writes": {"act": "status", "status": 422, "method": "PATCH", "times": None},
    "server errors": {"act": "status", "status": 500, "times": None},
    "not the token": {"act": "status", "status": 401, "times": None},
    "cut": {"act": "cut_before_commit", "times": None},
    "nonsense": {"act": "truncate", "times": None},
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_run_tells_no_secret(acme: World, failure: str, tmp_path: Path) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")
    acme.sandbox.fault(**FAILURES[failure])
    said = run(acme, tmp_path)
    for everything in (said, rows(acme)):
        assert TOKEN not in everything
        assert PASSWORD not in everything


def test_a_database_that_refuses_tells_no_secret(acme: World, tmp_path: Path) -> None:
    acme.sql("ALTER TABLE leads ADD CONSTRAINT none CHECK (company <> 'Forbidden') NOT VALID")
    acme.sandbox.edit(min(acme.sandbox.records()), {"Company": "Forbidden"})
    said = run(acme, tmp_path)
    assert TOKEN not in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/portal",
        f"postgresql://postgres:{PASSWORD}@nowhere.invalid/portal",
        f"nonsense://postgres:{PASSWORD}@h/portal",
        f"postgresql://postgres:{PASSWORD}@[/portal",
        # Not escaped: to libpq a part of the password is the host or the port.
        f"postgresql://{PASSWORD}/portal",
        f"postgresql://h:{PASSWORD}/portal",
        f"host={PASSWORD} dbname=portal",
    ],
)
def test_a_database_that_is_not_there_tells_no_secret(
    acme: World, url: str, tmp_path: Path
) -> None:
    said = run(acme, tmp_path, DATABASE_URL=url)
    assert PASSWORD not in said


@pytest.mark.parametrize("setting", ["DATABASE_URL", "DAGSTER_POSTGRES_URL"])
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://postgres:at@{PASSWORD}@127.0.0.1:1/portal",
        f"postgresql://postgres:at@{PASSWORD}/slash@127.0.0.1:1/portal",
        f"postgresql://postgres:{PASSWORD}/slash@127.0.0.1:1/portal",
        f"postgresql+psycopg://postgres:{PASSWORD}@@127.0.0.1:1/portal?sslmode=disable",
    ],
)
def test_a_password_that_is_not_escaped_is_refused_and_not_told(
    acme: World, setting: str, url: str, tmp_path: Path
) -> None:
    said = run(acme, tmp_path, **{setting: url})
    assert f"{setting} is not usable: write @ in the password as %40" in said
    assert PASSWORD not in said
    with pytest.raises(ValidationError) as refused:
        Settings(**{setting.lower(): url})
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:p%40ss%2Fword@127.0.0.1:5432/portal",
        "postgresql://postgres@/portal?host=/tmp",
        "postgresql:///portal?host=/tmp&user=ann@northwind",
        "postgresql://127.0.0.1/portal?user=ann@northwind",
        "postgresql://postgres:what?@127.0.0.1/portal",
        "postgresql://postgres:pass@127.0.0.1/portal?user=ann@northwind",
        "host=127.0.0.1 password='p@ss/word'",
    ],
)
def test_a_url_that_is_escaped_is_taken(url: str) -> None:
    assert Settings(database_url=url).require_database_url() == url
