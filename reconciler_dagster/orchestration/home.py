"""The Dagster home: whose settings apply when DAGSTER_HOME is not set. Needs no Dagster."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from reconciler_dagster import environment
from reconciler_dagster.config import ConfigurationError, project_file, state_dir, usable_folder
from reconciler_dagster.telling import why_no_connection


def home_folder() -> Path:
    """Where the Dagster home of these settings is, or would be."""
    configured = environment.value("DAGSTER_HOME")
    return Path(configured).expanduser() if configured else state_dir().resolve() / "dagster"


def dagster_home() -> Path:
    """Make sure that there is a Dagster home, and that this process and its children use it.

    DAGSTER_HOME where it is set; else a folder of the state folder, with the project's
    `dagster.yaml` in it. Raises ConfigurationError where it cannot be used.
    """
    configured = environment.value("DAGSTER_HOME")
    home = home_folder()
    if configured:
        if not home.is_absolute():  # Dagster's own rule
            raise ConfigurationError(f"DAGSTER_HOME is '{configured}': expected an absolute path.")
        if not home.is_dir():
            raise ConfigurationError(
                f"DAGSTER_HOME is {home}, and there is no such folder: make it, and "
                f"`cp dagster.yaml {home}`."
            )
        usable_folder(home, "DAGSTER_HOME")
    else:
        usable_folder(home, "DAGSTER_HOME")
        _put_settings(home)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def _put_settings(home: Path) -> None:
    wanted = project_file("dagster.yaml").read_text()
    target = home / "dagster.yaml"
    if not target.exists() or target.read_text() != wanted:
        # Replaced in one go: another process may be reading it.
        fresh = target.with_suffix(f".{os.getpid()}")
        fresh.write_text(wanted)
        fresh.replace(target)


def require_dagster_postgres(url: str) -> None:
    """Raise ConfigurationError unless Dagster's Postgres takes a connection, or at once where it
    cannot: Dagster itself tries for long.
    """
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        raise ConfigurationError(
            f"The Postgres of DAGSTER_POSTGRES_URL cannot be reached ({why_no_connection(error)}): "
            "check the address, the credentials and that the server runs."
        ) from None
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "DAGSTER_POSTGRES_URL is not a libpq URL: "
            "expected postgresql://user:password@host/database."
        ) from None
