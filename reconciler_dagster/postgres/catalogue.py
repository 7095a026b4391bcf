"""What Postgres' catalogue says about ``leads``: its columns, and what a violated rule is about."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Connection, text

from reconciler_dagster.core.pairs import Column
from reconciler_dagster.postgres.clients import leads_columns


class Catalogue:
    """Read on first use, for the length of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every column, by name. Raises as ``clients.leads_columns``."""
        return {column.name: column for column in leads_columns(self._connection)}

    @cached_property
    def by_rule(self) -> dict[str, frozenset[str]]:
        """Constraints and unique indexes of ``leads``: the columns that each of them looks at,
        those in its expressions and in its condition among them.
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
                "AND d.refobjid = to_regclass('public.leads') AND d.refobjsubid > 0 "
                "AND (c.oid IS NOT NULL OR i.oid IS NOT NULL) GROUP BY 1"
            )
        )
        return {row[0]: frozenset(row[1]) for row in rows}

    @cached_property
    def watched(self) -> frozenset[str]:
        """Columns that a trigger of ``leads`` is about (``UPDATE OF``): it fires for each lead of
        a statement that names one, whether its value changes or not.
        """
        rows = self._connection.execute(
            text(
                "SELECT DISTINCT a.attname FROM pg_trigger t JOIN pg_attribute a "
                "ON a.attrelid = t.tgrelid AND a.attnum = ANY(t.tgattr) "
                "WHERE t.tgrelid = to_regclass('public.leads') AND NOT t.tgisinternal"
            )
        )
        return frozenset(rows.scalars())

    def of_domain(self, name: str) -> frozenset[str]:
        """The columns of a domain's type."""
        return frozenset(c.name for c in self.columns.values() if c.domain == name)
