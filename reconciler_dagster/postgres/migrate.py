"""Alembic, run from Python: the way up, the way down, and what version a database is at."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import project_file

# One migration at a time, whoever starts it.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('reconciler migrate', 0))"


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(project_file("migrations")))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring a database up: an empty one gets the portal's tables, an existing one is adopted."""
    with engine.begin() as connection:
        connection.execute(text(_LOCK))
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the engine's schema away again. Leads, and every table that holds rows, stay."""
    with engine.begin() as connection:
        connection.execute(text(_LOCK))
        command.downgrade(_config(connection), revision)
        if revision == "base":
            connection.execute(text("DROP SCHEMA reconciler CASCADE"))


def is_current(engine: Engine) -> bool:
    """Whether the database is at the newest migration."""
    with engine.connect() as connection:
        heads = ScriptDirectory.from_config(_config(connection)).get_heads()
        context = MigrationContext.configure(
            connection, opts={"version_table_schema": "reconciler"}
        )
        return set(context.get_current_heads()) == set(heads)
