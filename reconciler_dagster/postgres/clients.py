"""The portal's clients and users, and the catalogue of its leads table."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.binding import Column
from reconciler_dagster.core.values import Directory
from reconciler_dagster.environment import cleaned


@dataclass(frozen=True)
class Client:
    """One client and its Airtable base. ``id`` is the uuid as text."""

    id: str
    name: str
    base_id: str


def active_clients(connection: Connection) -> list[Client]:
    """Every active client, by name."""
    rows = connection.execute(
        text(
            "SELECT id::text, company_name, airtable_base_id FROM public.clients "
            "WHERE is_active ORDER BY company_name, id"
        )
    )
    return [Client(row.id, row.company_name, cleaned(row.airtable_base_id or "")) for row in rows]


def find_client(connection: Connection, client_id: str) -> Client:
    """One active client; ConfigurationError that names it where there is none."""
    try:
        wanted = str(UUID(client_id))
    except ValueError:
        raise ConfigurationError(
            f"'{client_id}' is no client id: expected the uuid of an active row of clients."
        ) from None
    for client in active_clients(connection):
        if client.id == wanted:
            return client
    raise ConfigurationError(
        f"There is no active client {wanted}: look at clients.id and clients.is_active."
    )


def directory(connection: Connection) -> Directory:
    """All portal users: id and e-mail."""
    rows = connection.execute(
        text("SELECT id::text AS id, email FROM public.users WHERE email <> ''")
    )
    return Directory({row.id: row.email for row in rows})


def leads_columns(connection: Connection) -> list[Column]:
    """The catalogue of ``leads``. ConfigurationError where the engine's key columns are missing."""
    rows = connection.execute(
        text(
            "SELECT column_name, character_maximum_length, is_nullable = 'YES' "
            "FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = 'leads'"
        )
    )
    columns = [Column(*row) for row in rows]
    missing = {"id", "client_id", "airtable_record_id", "is_active"} - {c.name for c in columns}
    if missing:
        raise ConfigurationError(
            f"Table leads has no column {', '.join(sorted(missing))}: this is no lead portal."
        )
    return columns
