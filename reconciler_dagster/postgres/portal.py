"""The portal's database as a command or a run opens it: reachable, migrated, with its clients."""

from __future__ import annotations

from sqlalchemy import Engine

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.postgres.clients import Client, active_clients, find_client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listed import follow
from reconciler_dagster.postgres.migrate import is_current


def open_portal(settings: Settings) -> Engine:
    """The portal's Postgres, reachable and migrated, with the clients that the settings list.
    ConfigurationError otherwise.
    """
    portal = engine(settings.require_database_url())
    if not is_current(portal):
        raise ConfigurationError(
            "The database is not at this version's migrations: run `reconciler migrate`."
        )
    with portal.begin() as connection:
        follow(connection, settings.listed_clients)
    return portal


def chosen_clients(portal: Engine, client_id: str | None) -> list[Client]:
    """The one client, or all active ones."""
    with portal.connect() as connection:
        if client_id is not None:
            return [find_client(connection, client_id)]
        return active_clients(connection)
