"""Columns that Postgres works out, and what is noted elsewhere of a row: in the transaction that
writes it.

The SQL is the definition's author's own. What is wrong with it is told, and stops nothing else; a
row that somebody has locked is left to the next write or audit, for the engine never waits for the
portal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.sync import Derived, Pair, SyncMap
from reconciler_dagster.core.values import printable
from reconciler_dagster.postgres.attempts import is_of_the_data
from reconciler_dagster.postgres.connection import sqlstate
from reconciler_dagster.postgres.names import filled, quoted
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
# Syntax, and names and types that there are not.
_OF_THE_AUTHOR = "42"
_OWN, _GIVEN, _NONE = "{is_own}", "l.{key} = ANY(:keys)", "false"


def work_out(
    connection: Connection,
    pair: Pair,
    record_ids: Collection[str] | None = None,
    left: Mapping[str, Collection[str] | None] | None = None,
) -> None:
    """Work out what follows from rows that were written: their own derived columns, what is noted
    of them, and the columns of other syncs' rows that are derived ``after`` this one.

    Within ``connection.writing``. ``record_ids``: of the rows; None for all of the client.
    ``left``: by sync, keys of rows that these have pointed to before; None where it may be any.
    """
    own = pair.map
    if not own.is_followed or (record_ids is not None and not record_ids):
        return
    keys = None if record_ids is None else _keys_of(connection, pair, record_ids)
    _columns(connection, pair, own, own.derived, keys)
    for sql in own.events:
        _run(connection, pair, own, _noted(sql, keys), keys)
    _followers(connection, pair, own, keys, left or {}, {own.name})


def stale(connection: Connection, pair: Pair) -> dict[str, int]:
    """By derived column, how many of the client's rows do not hold what it comes to."""
    found = {}
    for one in pair.map.derived:
        rows = _run(connection, pair, pair.map, _about(_STALE, [one], _OWN), None)
        if rows and rows[0][0]:
            found[one.column] = int(rows[0][0])
    return found


def problems(connection: Connection, pair: Pair) -> list[str]:
    """What Postgres says against the definition's SQL, a sentence each."""
    own, told = pair.map, []
    tried = {f"'{one.column}'": _about(_STALE, [one], _NONE) for one in own.derived}
    tried |= {f"event {n}": "EXPLAIN " + _noted(s, ()) for n, s in enumerate(own.events, 1)}
    for what, template in tried.items():
        try:
            with connection.begin_nested():
                connection.execute(_statement(own, template), _parameters(pair, own, ()))
        except DBAPIError as error:
            if not _is_of_the_sql(error):
                raise
            said = getattr(getattr(error.orig, "diag", None), "message_primary", None)
            told.append(
                f"{what} is stopped: it is derived in {own.table} by SQL that Postgres refuses "
                f"({printable(said or 'no reason is known', 200)}); mend the definition of "
                f"{own.name}, or the table."
            )
    return told


def _followers(
    connection: Connection,
    pair: Pair,
    written: SyncMap,
    keys: Sequence[str] | None,
    left: Mapping[str, Collection[str] | None],
    done: Collection[str],
) -> None:
    """The columns that are derived after a sync: of the rows that its rows point to; of all of the
    client's where they do not.
    """
    for other in written.others.values():
        derived = [one for one in other.derived if written.name in one.after]
        if not derived or other.name in done:
            continue
        links, before = written.links_to(other.name), left.get(other.name, ())
        affected, changed = None, []
        if links and keys is not None:
            affected = sorted({*_linked(connection, pair, written, links, keys), *(before or ())})
            changed = _columns(connection, pair, other, derived, affected)
        if affected is None or before is None:
            changed += _columns(connection, pair, other, derived, None)
        if changed:
            around = other.among({**written.others, written.name: written})
            _followers(connection, pair, around, changed, {}, {*done, other.name})


def _columns(
    connection: Connection,
    pair: Pair,
    own: SyncMap,
    derived: Sequence[Derived],
    keys: Sequence[str] | None,
) -> list[str]:
    """Work columns out; returns the keys of the rows that have changed. Where Postgres refuses them
    together, each for itself.
    """
    if not derived or (keys is not None and not keys):
        return []
    template = _about(_WORK_OUT, derived, _OWN if keys is None else _GIVEN)
    rows = _run(connection, pair, own, template, keys)
    if rows is None and len(derived) > 1:
        each = [_columns(connection, pair, own, [one], keys) for one in derived]
        return sorted({key for found in each for key in found})
    return [row[0] for row in rows or ()]


def _keys_of(connection: Connection, pair: Pair, record_ids: Collection[str]) -> list[str]:
    asked = "SELECT CAST(l.{key} AS text) FROM {table} l WHERE {record_id} = ANY(:record_ids)"
    parameters = {**pair.keys, "record_ids": list(record_ids)}
    return list(connection.execute(_statement(pair.map, asked), parameters).scalars())


def _linked(
    connection: Connection, pair: Pair, own: SyncMap, links: Sequence[str], keys: Sequence[str]
) -> list[str]:
    """What rows point to."""
    parts = [
        f"SELECT CAST(l.{_braced(quoted(link))} AS text) FROM {{table}} l WHERE {_GIVEN} "  # noqa: S608
        f"AND l.{_braced(quoted(link))} IS NOT NULL"
        for link in links
    ]
    asked = _statement(own, " UNION ".join(parts))
    return list(connection.execute(asked, _parameters(pair, own, keys)).scalars())


def _run(
    connection: Connection,
    pair: Pair,
    own: SyncMap,
    template: str,
    keys: Sequence[str] | None,
) -> Sequence[Any] | None:
    """The rows of a statement; None where Postgres refuses it."""
    try:
        with connection.begin_nested():
            result = connection.execute(_statement(own, template), _parameters(pair, own, keys))
            return result.all() if result.returns_rows else []
    except DBAPIError as error:
        if not _is_of_the_sql(error) and not is_of_the_data(error):
            raise
        return None


def _is_of_the_sql(error: DBAPIError) -> bool:
    return sqlstate(error).startswith(_OF_THE_AUTHOR) and sqlstate(error) != "42501"


def _about(template: str, derived: Sequence[Derived], which: str) -> str:
    """A template with the columns in it."""
    names = [quoted(one.column) for one in derived]
    made = [
        f"{literal(one.column)}, " + (f'coalesce("row".{name}, {sql})' if one.fills else sql)
        for name, one in zip(names, derived, strict=True)
        for sql in [f"({_sql(one.sql)})"]
    ]
    parts = {
        "made": ", ".join(made),
        "names": ", ".join(names),
        "held": ", ".join(f"l.{name}" for name in names),
        "new": ", ".join(f"(w.made).{name}" for name in names),
    }
    for part, value in parts.items():
        template = template.replace(f"{{{part}}}", _braced(value))
    return template.replace("{which}", which)


def _noted(sql: str, keys: Sequence[str] | None) -> str:
    which = _OWN if keys is None else _GIVEN
    written = f"SELECT l.* FROM {{table}} l WHERE {which}"  # noqa: S608 - constants
    return f"WITH written AS ({written}) {_braced(_sql(sql))}"


def _statement(own: SyncMap, template: str) -> Any:
    return text(filled(own.table, template, key=quoted(own.table.key)))


def _parameters(pair: Pair, own: SyncMap, keys: Sequence[str] | None) -> dict[str, Any]:
    """The keys as one text, which Postgres reads as whatever type the key is of."""
    escaped = [key.replace("\\", "\\\\").replace('"', '\\"') for key in keys or ()]
    listed = ",".join(f'"{key}"' for key in escaped)
    return {"client_id": pair.client_id, "sync": own.name, "keys": f"{{{listed}}}"}


def _sql(written: str) -> str:
    """The author's SQL has no parameters: a colon is a colon."""
    return written.replace(":", "\\:")


def _braced(part: str) -> str:
    """A part that stays as it is when the table's names are filled in."""
    return part.replace("{", "{{").replace("}", "}}")
