"""Where Dagster keeps its own records: Postgres when one is configured, else SQLite.

`dagster.yaml` has no conditionals, and a missing `{env: NAME}` in it is fatal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import psycopg
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from reconciler_dagster.config import ConfigurationError, Settings, state_dir


class ChosenStorage(DagsterStorage, ConfigurableClass):
    """Stands in `dagster.yaml`; what is made of it is dagster-postgres' storage or Dagster's."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure: the settings decide."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # gives the storage that was chosen
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
        """Choose."""
        url = Settings.load().dagster_postgres_url
        if url is None:
            home = os.environ.get("DAGSTER_HOME") or str(state_dir() / "dagster")
            return DagsterSqliteStorage.from_local(home)
        from dagster_postgres import DagsterPostgresStorage

        storage: DagsterStorage = DagsterPostgresStorage(psycopg2_url(url.get_secret_value()))
        return storage


def psycopg2_url(url: str) -> str:
    """Any libpq URL or connection string for the driver that dagster-postgres brings.

    SQLAlchemy 2.1 takes psycopg 3 for a plain `postgresql://`.
    """
    scheme, rest = url.split("://", 1) if "://" in url else ("", url)
    try:
        parts = conninfo_to_dict(f"{scheme.partition('+')[0]}://{rest}" if scheme else url)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "DAGSTER_POSTGRES_URL is not a libpq URL: "
            "expected postgresql://user:password@host/database."
        ) from None
    return URL.create(
        "postgresql+psycopg2",
        username=_text(parts.pop("user", None)),
        password=_text(parts.pop("password", None)),
        database=_text(parts.pop("dbname", None)),
        query={name: str(value) for name, value in parts.items()},
    ).render_as_string(hide_password=False)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
