"""The look at the portal's tables, before anything is migrated: what `fit` judges."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.listed import ListedClient
from reconciler_dagster.core.table import Table
from reconciler_dagster.portal.fit import (
    RECORD_ID,
    TABLES,
    PortalCatalogue,
    identifier,
    in_another_schema,
    required,
)
from reconciler_dagster.postgres.catalogue import columns_there

# By the catalogue, not by what the role may read: what nobody granted is there as well.
_TYPES = """
    SELECT c.relname, a.attname, CASE WHEN coalesce(b.typtype, t.typtype) = 'b'
        AND coalesce(b.typnamespace, t.typnamespace) = 'pg_catalog'::regnamespace
        THEN coalesce(b.typname, t.typname) ELSE 'user-defined' END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE c.relnamespace = to_regnamespace('public') AND c.relname = ANY(:tables)
    AND c.relkind IN ('r', 'p')
"""
_ELSEWHERE = """
    SELECT n.nspname, array_agg(c.relname ORDER BY c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = ANY(:tables) AND c.relkind IN ('r', 'p')
    AND n.nspname NOT IN ('public', 'reconciler', 'information_schema')
    AND n.nspname NOT LIKE 'pg\\_%'
    AND EXISTS (SELECT FROM pg_class l JOIN pg_attribute a ON a.attrelid = l.oid
        WHERE l.relnamespace = n.oid AND l.relname = 'leads' AND l.relkind IN ('r', 'p')
        AND a.attname = :record_id AND NOT a.attisdropped)
    GROUP BY 1 ORDER BY 1
"""
_NOBODYS = """
    SELECT count(*) FROM public.leads l WHERE l.claimed_by IS NOT NULL
    AND NOT EXISTS (SELECT FROM public.users u WHERE u.id::text = l.claimed_by::text)
"""


def look(connection: Connection) -> PortalCatalogue:
    """What is there of a portal."""
    tables = {"tables": [*TABLES, "campaigns"], "record_id": RECORD_ID}
    types: dict[str, dict[str, str]] = {}
    for table, column, type_ in connection.execute(text(_TYPES), {"tables": list(TABLES)}):
        types.setdefault(table, {})[column] = type_
    elsewhere = {row[0]: list(row[1]) for row in connection.execute(text(_ELSEWHERE), tables)}
    columns = {t: found for t in types if (found := columns_there(connection, _named(t)))}
    return PortalCatalogue(
        role=connection.execute(text("SELECT current_user")).scalar_one(),
        types=types,
        columns=columns,
        elsewhere=elsewhere,
        has_leads=bool(elsewhere) and "leads" in columns and _has_leads(connection),
        nobodys_claims=_nobodys_claims(connection, types),
    )


def _named(table: str) -> Table:
    return Table("public", table, "id", RECORD_ID, client="client_id", created_at="created_at")


def _has_leads(connection: Connection) -> bool:
    return bool(connection.execute(text("SELECT EXISTS (SELECT FROM public.leads)")).scalar())


def _nobodys_claims(connection: Connection, types: dict[str, dict[str, str]]) -> int:
    """Looked for only where it may be so: in texts, with users to compare them with."""
    held = types.get("leads", {}).get("claimed_by", "uuid")
    if held == "uuid" or "id" not in types.get("users", {}):
        return 0
    return int(connection.execute(text(_NOBODYS)).scalar_one())


def require_public(engine: Engine, listed: Sequence[ListedClient]) -> None:
    """Raise ConfigurationError where the portal's tables are in another schema: a migration would
    make empty ones beside them. Where clients are ``listed`` there is no portal.
    """
    if listed:
        return
    with engine.connect() as connection:
        if problem := in_another_schema(look(connection)):
            raise ConfigurationError(str(problem))


def insert_of_client(connection: Connection) -> str:
    """The statement that adds a client to this table of clients, to be filled in."""
    given = ["company_name", "airtable_base_id"]
    given += [c for c in required(columns_there(connection, _named("clients"))) if c not in given]
    values = ["'app...'" if name == "airtable_base_id" else "'...'" for name in given]
    names = ", ".join(map(identifier, given))
    return f"INSERT INTO clients ({names}) VALUES ({', '.join(values)})"  # noqa: S608 - to be read
