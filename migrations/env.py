"""Alembic entry point: the version table lies in the engine schema, the portal stays untouched."""

from alembic import context
from sqlalchemy import Connection, text

SCHEMA = "reconciler"


def run(connection: Connection) -> None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(
        connection=connection, version_table="alembic_version", version_table_schema=SCHEMA
    )
    context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    run(connection)
else:  # `alembic -c migrations/alembic.ini upgrade head`, with DATABASE_URL set
    from reconciler_dagster.config import Settings
    from reconciler_dagster.postgres.connection import engine

    settings = Settings()
    context.config.attributes["listed"] = bool(settings.listed_clients)
    with engine(settings.require_database_url()).begin() as own:
        run(own)
