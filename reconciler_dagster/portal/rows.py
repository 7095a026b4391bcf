"""The rows of any synced table: what they are called, and an edit of one by a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.core.sync import MAIN, Pair
from reconciler_dagster.core.table import Table
from reconciler_dagster.portal.problems import Problem, not_found
from reconciler_dagster.portal.shown import Shown
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import filled, quoted, statement

# The title by the row as JSON: a column that a definition names may not be there.
_SEEN = """
    SELECT {record_id} AS record_id, l.{key} AS key, {row_id} AS row_id,
           coalesce({active}, false) AS is_active,
           (SELECT string_agg(to_jsonb(l) ->> t.name, ' ' ORDER BY t.place)
            FROM unnest(CAST(:title AS text[])) WITH ORDINALITY AS t (name, place)) AS title
    FROM {table} l
"""


@dataclass(frozen=True)
class ShownRow:
    """A row as people know it. ``path``: its page, below the console; None where it is gone.
    ``key``: its primary key, ``row_id``: what the engine knows it by.
    """

    title: str
    record_id: str
    path: str | None = None
    is_active: bool = False
    key: Any = None
    row_id: UUID | None = None


def named(
    connection: Connection, client_id: UUID, shown: Shown, record_ids: Iterable[str]
) -> dict[str, ShownRow]:
    """The rows of these records, by record id; those that are gone are missing."""
    asked = _asked(shown.map.table, "WHERE {record_id} = ANY(:ids) AND {is_own}")
    found = connection.execute(
        text(asked), _parameters(client_id, shown) | {"ids": list(set(record_ids))}
    )
    return {row.record_id: _seen(shown, row) for row in found}


def find(connection: Connection, client_id: UUID, shown: Shown, record_id: str) -> ShownRow:
    """One row; raises a 404 problem where there is none."""
    found = named(connection, client_id, shown, [record_id])
    if record_id not in found:
        raise not_found(shown.singular)
    return found[record_id]


def listed(
    connection: Connection, client_id: UUID, shown: Shown, search: str, limit: int
) -> Sequence[ShownRow]:
    """The rows that have a record and whose title has these words, by title; one more than
    ``limit`` where there are more.
    """
    asked = _asked(shown.map.table, "WHERE {is_own} AND {record_id} ~ :whole AND {active}")
    wanted = search.split()
    words = " AND ".join(f"strpos(lower(title), lower(:w{n})) > 0" for n in range(len(wanted)))
    rows = connection.execute(
        text(
            f"SELECT * FROM ({asked}) found WHERE {words or 'true'} "  # noqa: S608 - parameters
            "ORDER BY title, record_id LIMIT :limit"
        ),
        _parameters(client_id, shown)
        | {f"w{n}": word for n, word in enumerate(wanted)}
        | {"limit": limit + 1, "whole": WHOLE},
    )
    return [_seen(shown, row) for row in rows]


def _asked(table: Table, where: str) -> str:
    return filled(table, _SEEN + where, key=quoted(table.key))


def _parameters(client_id: UUID, shown: Shown) -> dict[str, Any]:
    return {**Pair(str(client_id), shown.map).keys, "title": list(shown.title)}


def _seen(shown: Shown, row: Any) -> ShownRow:
    own = f"/leads/{row.key}" if shown.name == MAIN else f"{shown.path}/{row.record_id}"
    return ShownRow(
        row.title or row.record_id, row.record_id, own, row.is_active, row.key, row.row_id
    )


def write(connection: Connection, table: Table, key: Any, values: Mapping[str, Any]) -> None:
    """Edit columns of one row as any writer does: the trigger there notes it for the next run.
    ``values``: as JSON has them, by column.
    """
    names = [quoted(column) for column in values]
    connection.execute(
        statement(
            table,
            "UPDATE {table} AS l SET ({columns}) = (SELECT {picked} "
            "FROM jsonb_populate_record(l, CAST(:values AS jsonb)) AS r) WHERE l.{key} = :key",
            columns=", ".join(names),
            picked=", ".join(f"r.{name}" for name in names),
            key=quoted(table.key),
        ),
        {"values": dump(dict(values)), "key": key},
    )


def lock(connection: Connection, client_id: UUID, shown: Shown, record_id: str) -> ShownRow:
    """A row that is there in Airtable too, locked until the transaction ends; raises 404 or 409."""
    table = shown.map.table
    connection.execute(
        statement(
            table, "SELECT FROM {table} l WHERE {record_id} = :record AND {is_own} FOR UPDATE"
        ),
        _parameters(client_id, shown) | {"record": record_id},
    )
    row = find(connection, client_id, shown, record_id)
    if not row.is_active:
        raise Problem(409, f"This {shown.singular} was deleted in Airtable.", kind="row-deleted")
    return row
