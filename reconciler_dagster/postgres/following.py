"""Carrying out SQL of a definition's author over rows that were written, so that it stops alone.

Where the statement itself is wrong, ``derived.problems`` tells it once a run. Where the data of a
row is, that row is found by halves and waits in quarantine under the statement's name, with the
reason; the row itself and all others are as they should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import printable
from reconciler_dagster.postgres import quarantine
from reconciler_dagster.postgres.errors import is_of_the_data, sqlstate
from reconciler_dagster.postgres.names import quoted, statement
from reconciler_dagster.postgres.quarantine import Refusal

# Which rows: all of the client, those of the keys, none.
OWN, GIVEN, NONE = "{is_own}", "l.{key} = ANY(:keys)", "false"
# Rows that a statement fails for by themselves in one go; it is not looked for more of them then.
ENOUGH = 100
# Syntax, and names and types that there are not.
_OF_THE_AUTHOR = "42"


def run(
    connection: Connection,
    pair: Pair,
    template: str,
    keys: Sequence[str] | None = None,
    **parameters: Any,
) -> Sequence[Any]:
    """The rows of a statement, in a savepoint of its own; see ``names.filled``. The keys are one
    text, which Postgres reads as whatever type the key is of.
    """
    escaped = [key.replace("\\", "\\\\").replace('"', '\\"') for key in keys or ()]
    listed = ",".join(f'"{key}"' for key in escaped)
    parameters |= {**pair.keys, "keys": f"{{{listed}}}"}
    with connection.begin_nested():
        asked = statement(pair.table, template, key=quoted(pair.table.key))
        result = connection.execute(asked, parameters)
        return result.all() if result.returns_rows else []


def tried(
    connection: Connection, pair: Pair, template: str, keys: Sequence[str] | None = None
) -> Sequence[Any] | None:
    """The same; None where the statement or the data is at fault."""
    try:
        return run(connection, pair, template, keys)
    except DBAPIError as error:
        if not is_at_fault(error):
            raise
        return None


def carry_out(
    connection: Connection,
    pair: Pair,
    name: str,
    template: Callable[[str], str],
    keys: Sequence[str] | None,
) -> list[Any]:
    """The rows of an author's statement, which ``template`` makes for rows chosen by SQL. Rows that
    it fails for are put in quarantine, and those that it fails for no longer are released.

    ``name``: see ``Derived.name`` and ``SyncMap.event_names``.
    """
    found, wrong = list[Any](), dict[str, str]()
    todo = [keys]
    while todo:
        some = todo.pop()
        if some is not None and not some:
            continue
        try:
            found += run(connection, pair, template(OWN if some is None else GIVEN), some)
        except DBAPIError as error:
            if _is_of_the_sql(error):  # whatever the row; told by derived.problems
                return found
            if not is_of_the_data(error):
                raise
            some = _keys(connection, pair) if some is None else some
            if len(some) == 1 or len(wrong) >= ENOUGH:
                wrong |= dict.fromkeys(some, said(error))
            else:
                half = len(some) // 2
                todo += [some[half:], some[:half]]
    release(connection, pair, [name], keys, wrong)
    _refuse(connection, pair, name, wrong)
    return found


def release(
    connection: Connection,
    pair: Pair,
    names: Sequence[str],
    keys: Sequence[str] | None,
    wrong: Mapping[str, str] | None = None,
) -> None:
    """What these statements have failed for, and do no longer. ``wrong``: keys of rows that they
    still fail for.
    """
    which = OWN if keys is None else GIVEN
    template = (
        "DELETE FROM reconciler.quarantine q USING {table} l "  # noqa: S608 - constants
        "WHERE q.client_id = :client_id "
        "AND q.sync = :sync AND q.field = ANY(:names) AND q.record_id = {record_id} "
        f"AND {which} AND CAST(l.{{key}} AS text) <> ALL(:wrong)"
    )
    run(connection, pair, template, keys, names=list(names), wrong=list(wrong or ()))


def is_at_fault(error: DBAPIError) -> bool:
    """Whether Postgres refuses the statement or the data, and not the connection or the role."""
    return _is_of_the_sql(error) or is_of_the_data(error)


def said(error: DBAPIError) -> str:
    """What Postgres says."""
    message = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    return printable(message or "no reason is known", 200)


def _is_of_the_sql(error: DBAPIError) -> bool:
    return sqlstate(error).startswith(_OF_THE_AUTHOR) and sqlstate(error) != "42501"


def _keys(connection: Connection, pair: Pair) -> list[str]:
    asked = f"SELECT CAST(l.{{key}} AS text) FROM {{table}} l WHERE {OWN}"  # noqa: S608
    return [row[0] for row in run(connection, pair, asked)]


def _refuse(connection: Connection, pair: Pair, name: str, wrong: Mapping[str, str]) -> None:
    if not wrong:
        return
    asked = (
        "SELECT CAST(l.{key} AS text), {record_id} FROM {table} l "  # noqa: S608
        f"WHERE {GIVEN} AND {{record_id}} IS NOT NULL"
    )
    refusals = [
        Refusal(
            record_id,
            name,
            "to_postgres",
            f"{name[1:-1]} of the sync {pair.sync} fails for this row, which itself is written "
            f"({wrong[key]}): correct the row's values, or the SQL in the definition, then run "
            f"`reconciler quarantine retry`",
        )
        for key, record_id in run(connection, pair, asked, list(wrong))
    ]
    quarantine.put(connection, pair, refusals)
