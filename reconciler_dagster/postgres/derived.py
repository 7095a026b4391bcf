"""Columns that Postgres works out, and what is noted elsewhere of a row: in the transaction that
writes it.

The SQL is the definition's author's own. What is wrong with it is told, and stops nothing else: see
``postgres.following``. A row that somebody has locked is left to the next write or audit, for the
engine never waits for the portal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.sync import Derived, Pair
from reconciler_dagster.postgres import following
from reconciler_dagster.postgres.following import GIVEN, NONE, OWN
from reconciler_dagster.postgres.names import quoted
from reconciler_dagster.postgres.trigger import literal

_WORKED = """
    SELECT "row".{key} AS key, jsonb_populate_record("row", jsonb_build_object({made})) AS made
    FROM {table} AS "row" WHERE "row".{key} IN (SELECT l.{key} FROM {table} l WHERE {which})
"""
_WORK_OUT = f"""
    WITH worked AS MATERIALIZED ({_WORKED}), stale AS MATERIALIZED (
        SELECT l.{{key}} AS key FROM {{table}} l JOIN worked w ON w.key = l.{{key}}
        WHERE ROW({{held}}) IS DISTINCT FROM ROW({{new}}) FOR NO KEY UPDATE OF l SKIP LOCKED
    )
    UPDATE {{table}} l SET ({{names}}) = ROW({{new}}) FROM worked w JOIN stale USING (key)
    WHERE l.{{key}} = w.key RETURNING CAST(l.{{key}} AS text)
"""  # noqa: S608 - constants
_STALE = f"""
    WITH worked AS MATERIALIZED ({_WORKED})
    SELECT count(*) FROM {{table}} l JOIN worked w ON w.key = l.{{key}}
    WHERE ROW({{held}}) IS DISTINCT FROM ROW({{new}})
"""  # noqa: S608 - constants
# What fills a cell once stays there, so a link comes first: one that waits for its row, or that the
# run may find yet, since somebody has edited the row.
_OPEN = """
    EXISTS (SELECT FROM reconciler.quarantine w WHERE w.client_id = :client_id AND w.sync = :sync
    AND w.record_id = "row".{0} AND w.field = {1} AND w.direction = 'to_postgres')
    OR EXISTS (SELECT FROM reconciler.unsettled u WHERE u.client_id = :client_id
    AND u.sync = :sync AND u.record_id = "row".{0})
"""
_PART = re.compile(r"\{(\w+)\}")


def work_out(
    connection: Connection,
    pair: Pair,
    record_ids: Collection[str] | None = None,
    were: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Work out what follows from rows that were written: their own derived columns, what is noted
    of them, and the columns of other syncs' rows that are derived ``after`` this one.

    Within ``connection.writing``. ``record_ids``: of the rows; None for all of the client.
    ``were``: what these rows have held before, as JSON, or some of it.
    """
    own = pair.map
    if not own.is_followed or (record_ids is not None and not record_ids):
        return
    keys = None if record_ids is None else _keys_of(connection, pair, record_ids)
    _columns(connection, pair, own.derived, keys)
    for name, sql in zip(own.event_names, own.events, strict=True):
        following.carry_out(connection, pair, name, partial(_noted, sql), keys)
    _followers(connection, pair, keys, list(were), {own.name})


def stale(connection: Connection, pair: Pair) -> dict[str, int]:
    """By derived column, how many of the client's rows do not hold what it comes to."""
    found = {}
    for one in pair.map.derived:
        rows = following.tried(connection, pair, _about(pair, _STALE, [one], OWN))
        if rows and rows[0][0]:
            found[one.column] = int(rows[0][0])
    return found


def problems(connection: Connection, pair: Pair) -> list[str]:
    """What Postgres says against the definition's SQL, a sentence each."""
    own, told = pair.map, []
    tried = {f"'{one.column}'": _about(pair, _STALE, [one], NONE) for one in own.derived}
    tried |= {f"event {n}": "EXPLAIN " + _noted(s, GIVEN) for n, s in enumerate(own.events, 1)}
    for what, template in tried.items():
        try:
            following.run(connection, pair, template, ())
        except DBAPIError as error:
            if not following.is_at_fault(error):
                raise
            told.append(
                f"{what} is stopped: it is derived in {own.table} by SQL that Postgres refuses "
                f"({following.said(error)}); mend the definition of {own.name}, or the table."
            )
    return told


def _followers(
    connection: Connection,
    pair: Pair,
    keys: Sequence[str] | None,
    were: Sequence[Mapping[str, Any]],
    done: Collection[str],
) -> None:
    """The columns that are derived after a sync: of the rows that its rows point to, or have
    pointed to; of all of the client's where they do not.
    """
    written = pair.map
    for other in written.others.values():
        derived = [one for one in other.derived if written.name in one.after]
        if not derived or other.name in done:
            continue
        links = written.links_to(other.name)
        affected = None
        if links and keys is not None:
            left = {str(row[link]) for row in were for link in links if row.get(link)}
            affected = sorted({*_linked(connection, pair, links, keys), *left})
        around = other.among({**written.others, written.name: written})
        following_pair = Pair(pair.client_id, around)
        changed = _columns(connection, following_pair, derived, affected)
        if changed:
            _followers(connection, following_pair, changed, (), {*done, other.name})


def _columns(
    connection: Connection, pair: Pair, derived: Sequence[Derived], keys: Sequence[str] | None
) -> list[str]:
    """Work columns out; returns the keys of the rows that have changed. Where Postgres refuses them
    together, each for itself.
    """
    if not derived or (keys is not None and not keys):
        return []
    work_out_all = _about(pair, _WORK_OUT, derived, _which(keys))
    together = following.tried(connection, pair, work_out_all, keys)
    if together is not None:
        following.release(connection, pair, [one.name for one in derived], keys)
        return [row[0] for row in together]
    return sorted(
        {
            row[0]
            for one in derived
            for row in following.carry_out(
                connection, pair, one.name, partial(_about, pair, _WORK_OUT, [one]), keys
            )
        }
    )


def _keys_of(connection: Connection, pair: Pair, record_ids: Collection[str]) -> list[str]:
    asked = "SELECT CAST(l.{key} AS text) FROM {table} l WHERE {record_id} = ANY(:record_ids)"
    rows = following.run(connection, pair, asked, record_ids=list(record_ids))
    return [row[0] for row in rows]


def _linked(
    connection: Connection, pair: Pair, links: Sequence[str], keys: Sequence[str]
) -> list[str]:
    """What rows point to."""
    parts = [
        f"SELECT CAST(l.{_braced(quoted(link))} AS text) FROM {{table}} l WHERE {GIVEN} "  # noqa: S608
        f"AND l.{_braced(quoted(link))} IS NOT NULL"
        for link in links
    ]
    return [row[0] for row in following.run(connection, pair, " UNION ".join(parts), keys)]


def _which(keys: Sequence[str] | None) -> str:
    return OWN if keys is None else GIVEN


def _about(pair: Pair, template: str, derived: Sequence[Derived], which: str) -> str:
    """A template with the columns in it."""
    names = [quoted(one.column) for one in derived]
    made = [f"{literal(one.column)}, {_worked(pair, one)}" for one in derived]
    parts = {
        "which": which,
        "made": _braced(", ".join(made)),
        "names": _braced(", ".join(names)),
        "held": _braced(", ".join(f"l.{name}" for name in names)),
        "new": _braced(", ".join(f"(w.made).{name}" for name in names)),
    }
    return _PART.sub(lambda found: parts.get(found[1], found[0]), template)


def _worked(pair: Pair, derived: Derived) -> str:
    sql, held = f"({_sql(derived.sql)})", f'"row".{quoted(derived.column)}'
    if not derived.fills:
        return sql
    undecided = _OPEN.format(quoted(pair.table.record_id), literal(derived.column))
    return f"CASE WHEN {held} IS NOT NULL OR {undecided} THEN {held} ELSE {sql} END"


def _noted(sql: str, which: str) -> str:
    written = f"SELECT l.* FROM {{table}} l WHERE {which}"  # noqa: S608 - constants
    return f"WITH written AS ({written}) {_braced(_sql(sql))}"


def _sql(written: str) -> str:
    """The author's SQL has no parameters: a colon is a colon."""
    return written.replace(":", "\\:")


def _braced(part: str) -> str:
    """A part that stays as it is when the table's names are filled in."""
    return part.replace("{", "{{").replace("}", "}}")
