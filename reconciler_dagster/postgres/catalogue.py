"""What Postgres' catalogue says about a table that is synced: its columns, and what a violated rule
is about.
"""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.pairs import Column
from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres.names import regclass

_TEXTS = ("character varying", "text")
# What the engine finds a row by, and the types that it can do so with.
_KEY = ("uuid", *_TEXTS, "integer", "bigint")
_MOMENTS = ("date", "timestamp with time zone", "timestamp without time zone")


def columns_of(connection: Connection, table: Table) -> list[Column]:
    """The columns. ConfigurationError where one that the engine needs is missing or of another
    type.
    """
    columns = columns_there(connection, table)
    _require(table, {column.name: column.sql_type.partition("(")[0] for column in columns})
    return columns


# As ``information_schema.columns`` has it, which takes longer to plan and to read. ``b`` is a
# column's type, or what a domain is made of.
_COLUMNS = text("""
    SELECT a.attname,
        information_schema._pg_char_max_length(b.oid, m.mod),
        NOT (a.attnotnull OR (t.typtype = 'd' AND t.typnotnull)),
        CASE WHEN (b.typelem = 0 OR b.typlen <> -1)
                AND b.typnamespace <> 'pg_catalog'::regnamespace
            THEN 'user-defined' ELSE b.typname END,
        coalesce(information_schema._pg_datetime_precision(b.oid, m.mod),
            information_schema._pg_numeric_precision(b.oid, m.mod)),
        information_schema._pg_numeric_scale(b.oid, m.mod),
        (a.atthasdef AND a.attgenerated = '') OR t.typdefault IS NOT NULL,
        a.attgenerated <> '' OR a.attidentity <> '',
        format_type(a.atttypid, a.atttypmod),
        CASE WHEN t.typtype = 'd' THEN t.typname END,
        a.attname = ANY(:keys)
            OR (a.attname = :created_at AND format_type(b.oid, NULL) = ANY(:moments))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    CROSS JOIN LATERAL (
        SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS mod
    ) m
    WHERE c.oid = to_regclass(:table) AND c.relkind IN ('r', 'v', 'f', 'p')
        AND a.attnum > 0 AND NOT a.attisdropped
        AND (pg_has_role(c.relowner, 'USAGE')
            OR has_column_privilege(c.oid, a.attnum, 'SELECT, INSERT, UPDATE, REFERENCES'))
    ORDER BY a.attnum
""")


def columns_there(connection: Connection, table: Table) -> list[Column]:
    """The columns that this role may see, in order; none where the table is not there."""
    rows = connection.execute(
        _COLUMNS,
        {
            "keys": list(table.keys),
            "created_at": table.created_at,
            "moments": list(_MOMENTS),
            "table": regclass(table),
        },
    )
    return [Column(*row) for row in rows]


def _require(table: Table, types: dict[str, str]) -> None:
    needed = {
        table.key: _KEY,
        table.client: ("uuid",),
        table.record_id: _TEXTS,
        table.active: ("boolean",),
    }
    missing = sorted(name for name in needed if name is not None and name not in types)
    if missing:
        raise ConfigurationError(
            f"Table {table.name} has no column {', '.join(missing)}, which the sync's definition "
            "needs: add it, or correct the definition."
        )
    for name, expected in needed.items():
        if name is not None and types[name] not in expected:
            raise ConfigurationError(
                f"{table.name}.{name} is {types[name]}, expected {expected[0]}: change it back. "
                "Until then nothing is carried over, and nothing is lost."
            )


class Catalogue:
    """Read on first use, for the length of one transaction."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection, self.table = connection, table

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every column, by name. Raises as ``columns_of``."""
        return {column.name: column for column in columns_of(self._connection, self.table)}

    @cached_property
    def by_rule(self) -> dict[str, frozenset[str]]:
        """Constraints and unique indexes: the columns that each of them looks at, those in its
        expressions and in its condition among them.
        """
        rows = self._connection.execute(
            text(
                "SELECT coalesce(c.conname, i.relname) AS rule, array_agg(DISTINCT a.attname) "
                "FROM pg_depend d JOIN pg_attribute a "
                "ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
                "LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass "
                "AND c.oid = d.objid AND c.conrelid = d.refobjid "
                "LEFT JOIN pg_class i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid "
                "AND i.relkind = 'i' WHERE d.refclassid = 'pg_class'::regclass "
                "AND d.refobjid = to_regclass(:table) AND d.refobjsubid > 0 "
                "AND (c.oid IS NOT NULL OR i.oid IS NOT NULL) GROUP BY 1"
            ),
            {"table": regclass(self.table)},
        )
        return {row[0]: frozenset(row[1]) for row in rows}

    @cached_property
    def watched(self) -> frozenset[str]:
        """Columns that a trigger of the table is about (``UPDATE OF``): it fires for each row of
        a statement that names one, whether its value changes or not.
        """
        rows = self._connection.execute(
            text(
                "SELECT DISTINCT a.attname FROM pg_trigger t JOIN pg_attribute a "
                "ON a.attrelid = t.tgrelid AND a.attnum = ANY(t.tgattr) "
                "WHERE t.tgrelid = to_regclass(:table) AND NOT t.tgisinternal"
            ),
            {"table": regclass(self.table)},
        )
        return frozenset(rows.scalars())

    def of_domain(self, name: str) -> frozenset[str]:
        """The columns of a domain's type."""
        return frozenset(c.name for c in self.columns.values() if c.domain == name)
