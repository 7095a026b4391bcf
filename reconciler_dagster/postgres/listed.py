"""Where the clients come from: the portal's table, or the list in the settings.

Statements ask ``reconciler.clients()``, whichever it is. A function, because a view would keep the
portal from altering its own table; Postgres puts its text into the statement that calls it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.listed import ListedClient

# There only where clients are listed.
LISTED = "reconciler.listed_client"
_FUNCTION = """
    SET LOCAL check_function_bodies = off;
    CREATE OR REPLACE FUNCTION reconciler.clients() RETURNS TABLE (
        id uuid, company_name text, airtable_base_id text, is_active boolean
    ) LANGUAGE sql STABLE AS $source${source}$source$
"""
_OF_THE_PORTAL = (
    "SELECT id, company_name::text, airtable_base_id::text, is_active FROM public.clients"
)
_OF_THE_LIST = f"SELECT id, name, base_id, is_active FROM {LISTED}"  # noqa: S608 - a constant
_TABLE = f"""
    CREATE TABLE IF NOT EXISTS {LISTED} (
        id uuid PRIMARY KEY,
        name text NOT NULL,
        base_id text NOT NULL,
        is_active boolean NOT NULL DEFAULT true
    )
"""


def are_listed(connection: Connection) -> bool:
    """Whether this database has its clients from the settings."""
    found = connection.execute(text("SELECT to_regclass(:name)"), {"name": LISTED})
    return found.scalar() is not None


def read_the_portal(connection: Connection) -> None:
    """Have the clients come from the portal's table."""
    connection.exec_driver_sql(_FUNCTION.format(source=_OF_THE_PORTAL))
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {LISTED}")


def read_the_list(connection: Connection) -> None:
    """Have the clients come from the settings; ``follow`` says which."""
    connection.exec_driver_sql(_TABLE)
    connection.exec_driver_sql(_FUNCTION.format(source=_OF_THE_LIST))


def settle(connection: Connection, listed: Sequence[ListedClient]) -> None:
    """Have the clients come from where the settings say. Raises ConfigurationError where nothing is
    listed and there is no portal.
    """
    if listed:
        read_the_list(connection)
        follow(connection, listed)
    elif are_listed(connection):
        if connection.execute(text("SELECT to_regclass('public.clients')")).scalar() is None:
            raise ConfigurationError(_NOT_SET)
        read_the_portal(connection)


def follow(connection: Connection, listed: Sequence[ListedClient]) -> None:
    """Have the database know the clients that the settings list now; one that is listed no more is
    inactive, and what was agreed on for it stays. Raises ConfigurationError where the database has
    its clients from elsewhere than the settings say.
    """
    were_listed = are_listed(connection)
    if were_listed != bool(listed):
        raise ConfigurationError(_NOT_SET if were_listed else _NOT_TAKEN_OVER)
    if not listed:
        return
    wanted = {client.id: client for client in listed}
    known = {
        row.id: ListedClient(row.name, row.base_id)
        for row in connection.execute(
            text(f"SELECT id::text, name, base_id FROM {LISTED} WHERE is_active")  # noqa: S608
        )
    }
    if known == wanted:
        return
    connection.execute(
        text(f"UPDATE {LISTED} SET is_active = false WHERE id <> ALL(CAST(:ids AS uuid[]))"),  # noqa: S608
        {"ids": list(wanted)},
    )
    connection.execute(
        text(
            f"INSERT INTO {LISTED} (id, name, base_id) VALUES (:id, :name, :base_id) "  # noqa: S608
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, is_active = true"
        ),
        [{"id": id_, "name": one.name, "base_id": one.base_id} for id_, one in wanted.items()],
    )


_NOT_SET = (
    "RECONCILER_CLIENTS is not set, and this database has its clients from there: set it to "
    "name=base id of each client."
)
_NOT_TAKEN_OVER = (
    "RECONCILER_CLIENTS is set, and this database has its clients from public.clients: run "
    "`reconciler migrate` to have them from the setting, or unset it."
)
