"""Clients, whoever lists them, and the portal's users."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.normal import identifier
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres import guard
from reconciler_dagster.postgres.listed import are_listed
from reconciler_dagster.postgres.rows import linked_rows

_NAMES = """
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname IN ('first_name', 'last_name')
    AND NOT attisdropped AND has_column_privilege(attrelid, attnum, 'SELECT')
"""


@dataclass(frozen=True)
class Client:
    """One client and its Airtable base. ``id`` is the uuid as text."""

    id: str
    name: str
    base_id: str


def active_clients(connection: Connection) -> list[Client]:
    """Every active client, by name; its base id without blanks that came along with it. Raises
    core.guard.Unfit where some may be hidden from this role.
    """
    return _active(connection, None)


def _active(connection: Connection, client_id: str | None) -> list[Client]:
    guard.require_clients(connection)
    rows = connection.execute(
        text(
            "SELECT id::text AS id, company_name, airtable_base_id FROM reconciler.clients() "
            "WHERE is_active AND id = coalesce(CAST(:id AS uuid), id) ORDER BY company_name, id"
        ),
        {"id": client_id},
    )
    return [
        Client(row.id, row.company_name, identifier(row.airtable_base_id or "")) for row in rows
    ]


def find_client(connection: Connection, client_id: str) -> Client:
    """One active client; ConfigurationError that names it where there is none."""
    try:
        wanted = str(UUID(client_id))
    except ValueError:
        raise ConfigurationError(
            f"'{client_id}' is no client id: expected the uuid of a client, as `reconciler status` "
            "shows it."
        ) from None
    for client in _active(connection, wanted):
        return client
    where = "RECONCILER_CLIENTS" if are_listed(connection) else "clients.id and clients.is_active"
    raise ConfigurationError(f"There is no active client {wanted}: look at {where}.")


def base_of(connection: Connection, client_id: str) -> str | None:
    """The base that a client has now."""
    base_id = connection.execute(
        text("SELECT airtable_base_id FROM reconciler.clients() WHERE id = :client_id"),
        {"client_id": client_id},
    ).scalar()
    return None if base_id is None else identifier(base_id)


def directory(connection: Connection, pair: Pair | None = None) -> Directory:
    """All portal users, by id, e-mail and full name, and the rows that the fields of a pair link
    to. Users are read where a field of the pair names one: else there need be no table of them.
    """
    rows = linked_rows(connection.engine, pair) if pair else {}
    if pair and not pair.map.names_users:
        return Directory({}, rows)
    # Without a grant on the names nobody is known by one.
    named = connection.execute(text(_NAMES)).scalar()
    name = f"concat_ws(' ', {named})" if named else "''"
    found = connection.execute(
        text(f"SELECT id::text AS id, email, {name} AS name FROM public.users WHERE email <> ''")  # noqa: S608 - of the catalogue
    ).all()
    names = {row.id: row.name for row in found}
    return Directory({row.id: row.email for row in found}, rows, names)
