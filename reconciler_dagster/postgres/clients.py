"""The portal's clients and users, and the catalogue of its leads table."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.normal import identifier
from reconciler_dagster.core.pairs import Column
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres import guard

# What the engine finds a lead by, and the types that it can do so with.
_KEYS = {
    "id": ("uuid",),
    "client_id": ("uuid",),
    "airtable_record_id": ("character varying", "text"),
    "is_active": ("boolean",),
}


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
    guard.require_clients(connection)
    rows = connection.execute(
        text(
            "SELECT id::text AS id, company_name, airtable_base_id FROM public.clients "
            "WHERE is_active ORDER BY company_name, id"
        )
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
            f"'{client_id}' is no client id: expected the uuid of an active row of clients."
        ) from None
    for client in active_clients(connection):
        if client.id == wanted:
            return client
    raise ConfigurationError(
        f"There is no active client {wanted}: look at clients.id and clients.is_active."
    )


def base_of(connection: Connection, client_id: str) -> str | None:
    """The base that a client has now."""
    base_id = connection.execute(
        text("SELECT airtable_base_id FROM public.clients WHERE id = :client_id"),
        {"client_id": client_id},
    ).scalar()
    return None if base_id is None else identifier(base_id)


def directory(connection: Connection) -> Directory:
    """All portal users: id and e-mail."""
    rows = connection.execute(
        text("SELECT id::text AS id, email FROM public.users WHERE email <> ''")
    )
    return Directory({row.id: row.email for row in rows})


def columns_of_table(connection: Connection, table: str) -> list[Column]:
    """The columns of a table of ``public`` that this role may see, in order; none where it is not
    there.
    """
    rows = connection.execute(
        text(
            "SELECT c.column_name, c.character_maximum_length, c.is_nullable = 'YES', "
            "CASE c.data_type WHEN 'USER-DEFINED' THEN 'user-defined' ELSE c.udt_name END, "
            "coalesce(c.datetime_precision, c.numeric_precision), c.numeric_scale, "
            "c.column_default IS NOT NULL OR t.typdefault IS NOT NULL, "
            "c.is_generated <> 'NEVER' OR c.is_identity = 'YES', "
            "format_type(a.atttypid, a.atttypmod), "
            "c.data_type IN ('date', 'timestamp with time zone', 'timestamp without time zone'), "
            "c.domain_name FROM information_schema.columns c "
            "JOIN pg_attribute a ON a.attrelid = to_regclass('public.' || :name) "
            "AND a.attname = c.column_name JOIN pg_type t ON t.oid = a.atttypid "
            "WHERE c.table_schema = 'public' AND c.table_name = :name ORDER BY a.attnum"
        ),
        {"name": table},
    )
    return [Column(*row) for row in rows]


def leads_columns(connection: Connection) -> list[Column]:
    """The catalogue of ``leads``. ConfigurationError where the engine's key columns are missing or
    of another type.
    """
    columns = columns_of_table(connection, "leads")
    types = {column.name: column.sql_type.partition("(")[0] for column in columns}
    missing = _KEYS.keys() - types.keys()
    if missing:
        raise ConfigurationError(
            f"Table leads has no column {', '.join(sorted(missing))}: this is no lead portal."
        )
    for name, expected in _KEYS.items():
        if types[name] not in expected:
            raise ConfigurationError(
                f"leads.{name} is {types[name]}, expected {expected[0]}: change it back. Until "
                "then nothing is carried over, and nothing is lost."
            )
    return columns
