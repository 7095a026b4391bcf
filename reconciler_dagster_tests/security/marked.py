"""A marked value for every secret, a program that is run with them, and everything it left."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import text

from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests import program
from reconciler_dagster_tests.world import World

TOKEN = "patMarkedMarked01.5ecretOfAirtable"
PORTAL, DAGSTER = "port%40l-mark%2Fed-Xy", "dagster-mark%3Aed-Zw"
JWT = "jwt-mark-0123456789-0123456789-0123456789"
MARKS = (TOKEN, PORTAL, DAGSTER, JWT)


def forms(secrets: Iterable[str] = MARKS) -> set[str]:
    """How a secret may have been written down."""
    found: set[str] = set()
    for secret in secrets:
        bare = unquote(secret)
        found |= {secret, bare, repr(bare)[1:-1], json.dumps(bare)[1:-1], quote(bare, safe="")}
        for text_ in (bare, f"postgres:{bare}", f"postgres:{secret}"):
            found.add(base64.b64encode(text_.encode()).decode().rstrip("="))
    return found


def with_password(url: str, password: str) -> str:
    """The URL of the tests' Postgres, which takes any password."""
    changed = url.replace("postgres@", f"postgres:{password}@", 1)
    assert password in changed
    return changed


def environment(acme: World, dagster_url: str, folder: Path) -> dict[str, str]:
    """Settings with a mark in every secret."""
    return {
        "DATABASE_URL": with_password(acme.settings.require_database_url(), PORTAL),
        "DAGSTER_POSTGRES_URL": with_password(dagster_url, DAGSTER),
        "AIRTABLE_API_KEY": TOKEN,
        "AIRTABLE_ENDPOINT_URL": acme.sandbox.url,
        "PORTAL_JWT_SECRET": JWT,
        "RECONCILER_STATE_DIR": str(folder),
        "RECONCILER_RETRY_SECONDS": "0.001",
        "RECONCILER_LOCKOUT_SECONDS": "0.01",
    }


def reconciler(
    arguments: list[str], settings: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """The program, from a folder that is nobody's project."""
    return program.reconciler("--debug", *arguments, env=os.environ | settings, cwd=folder)


def left_behind(folder: Path, *urls: str) -> str:
    """Every file of a folder, and every row of every table that is ours or Dagster's."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"".join(files).decode("latin-1") + "".join(map(_rows, urls))


def _rows(url: str) -> str:
    own = engine(url)
    with own.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables "
                "WHERE table_schema IN ('reconciler', 'public') AND table_type = 'BASE TABLE'"
            )
        ).scalars()
        return "".join(
            str(connection.execute(text(f"SELECT t::text FROM {name} t")).all())  # noqa: S608
            for name in tables
        )


def assert_untold(everything: str, secrets: Iterable[str] = MARKS) -> None:
    """No form of any secret is in it."""
    for form in forms(secrets):
        at = everything.find(form)
        assert at < 0, f"{form} is told: ...{everything[max(0, at - 200) : at + 200]}..."
