"""Record ids in ``leads`` as people pasted them: with blanks that no id has."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.normal import identifier
from reconciler_dagster.core.records import LENGTH, WHOLE, is_record_id
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres import leads, quarantine
from reconciler_dagster.postgres.errors import is_of_the_data
from reconciler_dagster.postgres.names import quoted, statement
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal

# Of ids that are too long, those that may be one with something around it; ``identifier`` judges.
_MAY_BE_ONE = """
    FROM {table} l WHERE {is_own} AND length({record_id}) > :length
    AND regexp_replace({record_id}, '[^A-Za-z0-9]', '', 'g') ~ :whole
"""
_LOCK = "SELECT {row_id}::text AS id, {record_id} AS wrong" + _MAY_BE_ONE
_FIND = "SELECT {record_id}" + _MAY_BE_ONE


def mend(connection: Connection, pair: Pair) -> None:
    """Take blanks out of the record ids of leads, so that each meets its record; the lead is noted,
    for its edits were not: to the trigger it was one of the portal's own.

    A lead that somebody has locked is left for the next run. One whose clean id another lead has,
    or that Postgres refuses to correct, is quarantined.
    """
    found = connection.execute(
        statement(pair.table, _LOCK + "FOR UPDATE OF l SKIP LOCKED"),
        {**pair.keys, "length": LENGTH, "whole": WHOLE},
    ).all()
    if found:  # refused at the statement, not at the commit, where it stops all
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    for row in found:
        right = identifier(row.wrong)
        if not is_record_id(right):
            continue
        why = "the clean id is another lead's: remove one of the two"
        try:
            with connection.begin_nested():
                renamed = _rename(connection, pair, row.id, row.wrong, right)
        except DBAPIError as error:
            if not is_of_the_data(error):
                raise
            renamed, why = False, "Postgres refuses to correct it: correct it by hand"
        if not renamed:
            reason = f"The lead's record id has blanks in it, and {why}"
            quarantine.put(
                connection, pair, [Refusal(row.wrong, WHOLE_LEAD, "to_airtable", reason)]
            )
    _forget_corrected(connection, pair)


def pasted(connection: Connection, pair: Pair, record_ids: Collection[str]) -> set[str]:
    """Of some record ids those that a lead of the client has, with blanks around."""
    return _pasted(connection, pair) & set(record_ids)


def any_to_mend(connection: Connection, pair: Pair) -> bool:
    """Whether ``mend`` would find any."""
    return any(map(is_record_id, _pasted(connection, pair)))


def _pasted(connection: Connection, pair: Pair) -> set[str]:
    rows = connection.execute(
        statement(pair.table, _FIND),
        {**pair.keys, "length": LENGTH, "whole": WHOLE},
    )
    return {identifier(wrong) for wrong in rows.scalars()}


def _forget_corrected(connection: Connection, pair: Pair) -> None:
    """Refusals of ids that no lead has any more: corrected here, or by a person."""
    connection.execute(
        statement(
            pair.table,
            "DELETE FROM reconciler.quarantine q WHERE client_id = :client_id AND sync = :sync "
            "AND length(record_id) > :length AND NOT EXISTS "
            "(SELECT FROM {table} l WHERE {record_id} = q.record_id)",
        ),
        {**pair.keys, "length": LENGTH},
    )


def _rename(connection: Connection, pair: Pair, lead_id: str, wrong: str, right: str) -> bool:
    """Whether it could be done."""
    ids = {**pair.keys, "lead_id": lead_id, "wrong": wrong, "right": right}
    renamed = connection.execute(
        statement(
            pair.table,
            "UPDATE {table} l SET {column} = :right WHERE {record_id} = :wrong AND {is_own} "
            "AND NOT EXISTS (SELECT FROM {table} l WHERE {record_id} = :right)",
            column=quoted(pair.table.record_id),
        ),
        ids,
    )
    if not renamed.rowcount:
        return False
    leads.note(connection, pair, [(lead_id, right)], leads.DEFERRED)
    connection.execute(
        text(
            "UPDATE reconciler.unsettled SET record_id = :right WHERE client_id = :client_id "
            "AND sync = :sync AND lead_id = :lead_id AND record_id = :wrong"
        ),
        ids,
    )
    return True
