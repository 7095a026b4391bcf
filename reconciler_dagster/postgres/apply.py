"""Writing the portal's leads: one transaction a chunk, never over somebody's newer edit.

A lead that is locked, or that changed since it was read, is left for the next run. A cell that
Postgres refuses is left out, and everything else goes through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection, text

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.left_out import Trouble
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.together import waiting
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster.postgres import record_ids
from reconciler_dagster.postgres.attempts import write_each
from reconciler_dagster.postgres.catalogue import Catalogue
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import quoted, statement
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal
from reconciler_dagster.postgres.statements import Insert, Update
from reconciler_dagster.postgres.writes import Applied, LeadWrite, WriteRecorder


def apply_writes(
    connection: Connection,
    pair: Pair,
    writes: Sequence[LeadWrite],
    fields: FieldMap,
    users: Directory,
) -> Applied:
    """Write within the caller's transaction (``connection.writing``)."""
    applied = Applied()
    declared = pair.map.fields
    encoded = [encoded_write(write, declared, fields, users, applied) for write in writes]
    updates = [write for write in encoded if write.values and not write.insert]
    inserts = [write for write in encoded if write.insert]
    if not updates and not inserts:
        return applied
    # What is refused has to be refused at the statement, not at the commit, where it stops all.
    connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    catalogue = Catalogue(connection, pair.table)
    took = WriteRecorder(pair.map, fields, users, applied)
    free = _lock_unchanged(connection, pair, updates)
    applied.deferred |= {w.record_id for w in updates if w.record_id not in free}
    updates = [write for write in updates if write.record_id in free]
    written = write_each(connection, Update(catalogue), catalogue, declared, updates)
    for write in updates:
        done = written[write.record_id]
        took.update(write, done.row, done.found)
    inserts = _without_foreign(connection, pair, inserts, applied)
    if inserts:  # a lead that somebody is pasting into is no missing one: the next run mends it
        there = record_ids.pasted(connection, pair, {w.record_id for w in inserts})
        applied.deferred |= there
        inserts = [write for write in inserts if write.record_id not in there]
    _insert(connection, pair, inserts, catalogue, took)
    return applied


def _insert(
    connection: Connection,
    pair: Pair,
    writes: Sequence[LeadWrite],
    catalogue: Catalogue,
    took: WriteRecorder,
) -> None:
    insert = Insert(pair.client_id, catalogue)
    written = write_each(connection, insert, catalogue, pair.map.fields, writes)
    missing = [r for r, done in written.items() if done.row is None and done.found.held is None]
    there = lead_ids(connection, pair, missing) if missing else {}
    for write in writes:
        done = written[write.record_id]
        if done.found.held is not None:
            took.hold(write, _why_held(done.found.held, catalogue))
        elif done.row is not None:
            took.insert(write, done.row, done.found)
        elif write.record_id in there:  # somebody was faster
            took.applied.deferred.add(write.record_id)
        else:
            took.hold(write, "a trigger of the portal's database drops the new lead")


def _why_held(trouble: Trouble, catalogue: Catalogue) -> str:
    """With the columns that are to blame, as far as that is known."""
    table = catalogue.table
    to_blame = sorted(trouble.columns - table.keys)
    if to_blame:
        names = ", ".join(f"{table.name}.{name}" for name in to_blame)
        return f"{trouble.reason}; the lead cannot do without {names}, by NULL or a default"
    needed = sorted(c.name for c in catalogue.columns.values() if not c.may_be_left_out)
    names = ", ".join(f"{table.name}.{name}" for name in needed if name not in table.keys)
    if trouble.columns or not names:
        return trouble.reason
    return (
        f"{trouble.reason}; without every cell that can be left out it is refused too, so that one "
        f"of {names} may be to blame"
    )


def encoded_write(
    write: LeadWrite, declared: FieldMap, fields: FieldMap, users: Directory, applied: Applied
) -> LeadWrite:
    """A write in Postgres' values, without the cells that have none, which are noted as refused."""
    values: Row = {}
    refused: dict[str, str] = {}
    for column, value in write.values.items():
        try:
            values[column] = fields[column].codec.to_postgres(value, users)
        except Unreadable as why:
            refused[column] = f"{fields[column].airtable} {why}"
    refused |= waiting(refused, values, fields)
    applied.refused += [
        Refusal(write.record_id, column, "to_postgres", reason, write.values[column])
        for column, reason in refused.items()
    ]
    values = {column: value for column, value in values.items() if column not in refused}
    remembered, blanks = (_known(row, declared, users) for row in (write.remembered, write.blanks))
    return replace(write, values=values, remembered=remembered, blanks=blanks)


def _known(row: Row, declared: FieldMap, users: Directory) -> Row:
    """What is remembered, encoded; without what cannot be written any more."""
    encoded: Row = {}
    for column, value in row.items():
        with suppress(Unreadable):  # a user who is gone
            encoded[column] = declared[column].codec.to_postgres(value, users)
    for column in waiting(row.keys() - encoded.keys(), encoded, declared):
        del encoded[column]
    return encoded


def _lock_unchanged(connection: Connection, pair: Pair, updates: Sequence[LeadWrite]) -> set[str]:
    """Lock the leads that still are as they were read. Never waits for a portal transaction."""
    rows = [{"record_id": w.record_id, "version": w.row_version} for w in updates]
    locked = connection.execute(
        statement(
            pair.table,
            "SELECT {record_id} FROM {table} l "
            "JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (record_id text, version text) "
            "ON {record_id} = r.record_id AND l.xmin::text = r.version AND {may_be_own} "
            "FOR NO KEY UPDATE OF l SKIP LOCKED",
        ),
        {**pair.keys, "rows": dump(rows)},
    )
    return set(locked.scalars())


def _without_foreign(
    connection: Connection, pair: Pair, inserts: Sequence[LeadWrite], applied: Applied
) -> list[LeadWrite]:
    """Leave out records whose id another client's lead has: the lead was moved to that client, or
    the base is a copy of that client's (a copy keeps the ids).
    """
    if pair.table.client is None:
        return list(inserts)
    rows = connection.execute(
        statement(
            pair.table,
            "SELECT {record_id}, c.company_name FROM {table} l "
            "LEFT JOIN reconciler.clients() c ON c.id = l.{client} "
            "WHERE {record_id} = ANY(:ids) AND l.{client} <> :client_id",
            client=quoted(pair.table.client),
        ),
        {**pair.keys, "ids": [write.record_id for write in inserts]},
    )
    foreign = {row[0]: row[1] for row in rows}
    applied.refused += [
        Refusal(
            record_id,
            WHOLE_LEAD,
            "to_postgres",
            f"the lead with this record id belongs to another client ({name}): move it back, or "
            "see whether this base is a copy of that client's",
        )
        for record_id, name in sorted(foreign.items())
    ]
    return [write for write in inserts if write.record_id not in foreign]


def lead_ids(connection: Connection, pair: Pair, record_ids: Sequence[str]) -> Mapping[str, str]:
    """Record id to lead id, of leads that are there."""
    rows = connection.execute(
        statement(
            pair.table,
            "SELECT {record_id} AS record_id, {row_id}::text AS id FROM {table} l "
            "WHERE {record_id} = ANY(:ids)",
        ),
        {"ids": list(record_ids)},
    )
    return {row.record_id: row.id for row in rows}
