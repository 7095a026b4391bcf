"""Statements about a table that is synced: its names come from a definition, and are quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import TextClause, text

from reconciler_dagster.core.table import Table

_PLAIN = re.compile("[a-z_][a-z0-9_]*")


def quoted(name: str) -> str:
    """A Postgres identifier, quoted, for a statement in ``sqlalchemy.text``."""
    return quoted_name(name).replace(":", "\\:")


def of_row(columns: Iterable[str]) -> str:
    """Columns of the table as ``l``, quoted, for a statement in ``sqlalchemy.text``."""
    return ", ".join(f"l.{quoted(column)}" for column in columns)


def quoted_name(name: str) -> str:
    """A Postgres identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def qualified_name(table: Table) -> str:
    """Schema and name, quoted."""
    return f"{quoted_name(table.schema)}.{quoted_name(table.name)}"


def qualified(table: Table) -> str:
    """Schema and name, quoted, for a statement in ``sqlalchemy.text``."""
    return qualified_name(table).replace(":", "\\:")


def regclass(table: Table) -> str:
    """Schema and name as ``to_regclass`` takes them, and as people read them."""
    parts = (table.schema, table.name)
    return ".".join(part if _PLAIN.fullmatch(part) else quoted_name(part) for part in parts)


def filled(table: Table, template: str, **parts: str) -> str:
    """A statement, or a part of one, with the table's names in it. Its rows go by the name ``l``.

    ``{table}``; ``{row_id}``: what the engine knows a row by, a uuid; ``{record_id}``, ``{active}``
    and ``{created_at}``: columns, or what stands for one that there is not. Of the parameters
    ``:client_id`` and ``:sync``: ``{is_own}``: the row belongs to the client; ``{may_be_own}``: the
    same of a row whose record is known to be the client's.
    """

    def column(name: str | None, otherwise: str) -> str:
        return otherwise if name is None else f"l.{quoted(name)}"

    record_id = column(table.record_id, "")
    client = column(table.client, "")
    agreed = (
        "EXISTS (SELECT FROM reconciler.baseline own WHERE own.client_id = :client_id "
        f"AND own.sync = :sync AND own.record_id = {record_id})"
    )
    return template.format(
        table=qualified(table),
        row_id=f"reconciler.row_id(CAST({column(table.key, '')} AS text))",
        record_id=record_id,
        active=column(table.active, "true"),
        created_at=column(table.created_at, "CAST('-infinity' AS timestamptz)"),
        is_own=f"{client} = :client_id" if client else agreed,
        may_be_own=f"{client} = :client_id" if client else "true",
        **parts,
    )


def statement(table: Table, template: str, **parts: str) -> TextClause:
    """See ``filled``."""
    return text(filled(table, template, **parts))
