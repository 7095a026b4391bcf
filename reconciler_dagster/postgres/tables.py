"""Any table of the database, as the catalogue has it, and rows of it by record id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres.names import quoted


@dataclass(frozen=True)
class TableColumn:
    """``type``: as Postgres names it inside; ``user-defined`` where it is not built in.
    ``refers_to``: schema and table of its foreign key.
    """

    name: str
    type: str
    is_key: bool
    refers_to: str | None


def columns_of(connection: Connection, table: str) -> list[TableColumn]:
    """The columns of ``schema.table``, in order. ConfigurationError where there is none."""
    schema, _, name = table.rpartition(".")
    rows = connection.execute(
        text(
            "SELECT a.attname, CASE WHEN t.typtype = 'b' AND n.nspname = 'pg_catalog' "
            "THEN t.typname ELSE 'user-defined' END, coalesce(p.key, false), f.refers_to "
            "FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace "
            "LEFT JOIN LATERAL (SELECT true AS key FROM pg_constraint k WHERE k.conrelid = c.oid "
            "AND k.contype = 'p' AND a.attnum = ANY(k.conkey) LIMIT 1) p ON true "
            "LEFT JOIN LATERAL (SELECT rn.nspname || '.' || r.relname AS refers_to "
            "FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid "
            "JOIN pg_namespace rn ON rn.oid = r.relnamespace "
            "WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum] "
            "LIMIT 1) f ON true "
            "WHERE s.nspname = :schema AND c.relname = :name AND c.relkind IN ('r', 'p') "
            "ORDER BY a.attnum"
        ),
        {"schema": schema or "public", "name": name},
    )
    found = [TableColumn(*row) for row in rows]
    if not found:
        raise ConfigurationError(
            f"There is no table {table}: expected one with its schema, like sales.contacts."
        )
    return found


def rows_by_record_id(
    connection: Connection, table: str, record_id: str, ids: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Rows as JSON, by the record id that they hold in a column."""
    schema, _, name = table.rpartition(".")
    place = f"{quoted(schema or 'public')}.{quoted(name)}"
    rows = connection.execute(
        text(
            f"SELECT t.{quoted(record_id)}, to_jsonb(t) FROM {place} t "  # noqa: S608 - quoted
            f"WHERE t.{quoted(record_id)} = ANY(:ids)"
        ),
        {"ids": list(ids)},
    )
    return {row[0]: row[1] for row in rows}
