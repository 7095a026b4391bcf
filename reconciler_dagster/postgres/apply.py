"""Writing the portal's leads: one transaction a chunk, never over somebody's newer edit.

A lead that is locked, or that changed since it was read, is left for the next run. A row that
Postgres refuses is found by halving and left out; the rest goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from reconciler_dagster.core.fields import LEADS, FieldMap
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster.postgres.leads import quoted
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal
from reconciler_dagster.postgres.staging import dump
from reconciler_dagster.postgres.writes import Applied, LeadWrite, Took

# Classes of SQLSTATE that say nothing about a row: connection, transaction, deadlock, privileges,
# syntax, resources, limits, operator, system, internal (PostgreSQL's appendix A).
_NOT_THE_DATA = frozenset({"08", "25", "26", "28", "40", "42", "53", "54", "57", "58", "F0", "XX"})
_LOCK_NOT_AVAILABLE = "55P03"


def apply_writes(
    connection: Connection,
    client_id: str,
    writes: Sequence[LeadWrite],
    fields: FieldMap,
    users: Directory,
) -> Applied:
    """Write within the caller's transaction (``connection.writing``)."""
    applied = Applied()
    encoded = [_encoded(write, fields, users, applied) for write in writes]
    updates = [write for write in encoded if write.values and not write.insert]
    inserts = [write for write in encoded if write.insert]
    free = _lock_unchanged(connection, updates)
    applied.deferred |= {w.record_id for w in updates if w.record_id not in free}
    updates = [write for write in updates if write.record_id in free]
    took = Took(fields, users, applied)
    _halving(connection, updates, lambda part: _update(connection, part, took), applied)
    inserts = _without_foreign(connection, client_id, inserts, applied)
    _halving(connection, inserts, lambda part: _insert(connection, client_id, part, took), applied)
    return applied


def _encoded(write: LeadWrite, fields: FieldMap, users: Directory, applied: Applied) -> LeadWrite:
    values: Row = {}
    for column, value in write.values.items():
        try:
            values[column] = fields[column].codec.to_postgres(value, users)
        except Unreadable as why:
            reason = f"{fields[column].airtable} {why}"
            applied.refused.append(Refusal(write.record_id, column, "to_postgres", reason, value))
    remembered: Row = {}
    for column, value in write.remembered.items():
        with suppress(Unreadable):  # a user who is gone
            remembered[column] = LEADS[column].codec.to_postgres(value, users)
    return replace(write, values=values, remembered=remembered)


def _lock_unchanged(connection: Connection, updates: Sequence[LeadWrite]) -> set[str]:
    """Lock the leads that still are as they were read. Never waits for a portal transaction."""
    rows = [{"id": w.lead_id, "version": w.row_version} for w in updates]
    locked = connection.execute(
        text(
            "SELECT l.airtable_record_id FROM public.leads l "
            "JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, version text) "
            "ON l.id = r.id AND l.xmin::text = r.version FOR NO KEY UPDATE OF l SKIP LOCKED"
        ),
        {"rows": dump(rows)},
    )
    return set(locked.scalars())


def _halving(
    connection: Connection,
    writes: Sequence[LeadWrite],
    attempt: Callable[[Sequence[LeadWrite]], None],
    applied: Applied,
) -> None:
    """Attempt all at once; where Postgres refuses, halve until the bad cell stands alone."""
    if not writes:
        return
    try:
        with connection.begin_nested():
            attempt(writes)
        return
    except DBAPIError as error:
        if not _is_about_the_data(error):
            raise
        diagnostic = getattr(error.orig, "diag", None)
        reason = f"Postgres refuses it: {getattr(diagnostic, 'message_primary', 'unknown reason')}"
    if len(writes) > 1:
        middle = len(writes) // 2
        parts = [writes[:middle], writes[middle:]]
    else:
        parts = [[part] for part in _smaller(writes[0])]
    if not parts:
        column = WHOLE_LEAD if writes[0].insert else next(iter(writes[0].values))
        applied.refused.append(Refusal(writes[0].record_id, column, "to_postgres", reason))
    for part in parts:
        _halving(connection, part, attempt, applied)


def _is_about_the_data(error: DBAPIError) -> bool:
    """Whether another row might pass: the data is wrong, or a trigger of the portal raised an
    exception, under whatever code it chose.
    """
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if isinstance(error, DataError | IntegrityError):
        return True
    return bool(state) and state[:2] not in _NOT_THE_DATA and state != _LOCK_NOT_AVAILABLE


def _smaller(write: LeadWrite) -> list[LeadWrite]:
    if write.insert:  # without what only the portal knew: a campaign of it may be gone by now
        return [replace(write, deleted_row=None)] if write.deleted_row else []
    items = list(write.values.items())
    middle = len(items) // 2
    halves = [items[:middle], items[middle:]] if middle else []
    return [replace(write, values=dict(half)) for half in halves]


def _update(connection: Connection, writes: Sequence[LeadWrite], took: Took) -> None:
    columns = sorted({column for write in writes for column in write.values})
    names = ", ".join(quoted(column) for column in columns)
    new = ", ".join(f"p.{quoted(column)}" for column in columns)
    updated = connection.execute(
        text(
            f"UPDATE public.leads l SET ({names}) = ROW({new}) "  # noqa: S608 - quoted names
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, changes jsonb), "
            "LATERAL (SELECT (jsonb_populate_record(old, r.changes)).* "
            "FROM public.leads old WHERE old.id = r.id) p WHERE l.id = r.id "
            "RETURNING l.id::text, to_jsonb(l)"
        ),
        {"rows": dump([{"id": w.lead_id, "changes": w.values} for w in writes])},
    )
    rows = dict(tuple(row) for row in updated)
    for write in writes:
        took.update(write, rows.get(write.lead_id))


def _without_foreign(
    connection: Connection, client_id: str, inserts: Sequence[LeadWrite], applied: Applied
) -> list[LeadWrite]:
    """Leave out records whose id another client's lead has (a duplicated base keeps the ids)."""
    rows = connection.execute(
        text(
            "SELECT airtable_record_id FROM public.leads "
            "WHERE airtable_record_id = ANY(:ids) AND client_id <> :client_id"
        ),
        {"ids": [write.record_id for write in inserts], "client_id": client_id},
    )
    foreign = set(rows.scalars())
    reason = "a lead of another client has this record id: is the base a copy of another one?"
    applied.refused += [
        Refusal(record_id, WHOLE_LEAD, "to_postgres", reason) for record_id in sorted(foreign)
    ]
    return [write for write in inserts if write.record_id not in foreign]


def _insert(
    connection: Connection, client_id: str, writes: Sequence[LeadWrite], took: Took
) -> None:
    for whole in (False, True):
        part = [write for write in writes if bool(write.deleted_row) is whole]
        if not part:
            continue
        columns = _insertable(connection) if whole else []
        columns += sorted({c for w in part for c in w.remembered | w.values} - set(columns))
        columns = [c for c in columns if c not in ("id", "client_id", "airtable_record_id")]
        names = "".join(f", {quoted(column)}" for column in columns)
        new = "".join(f", p.{quoted(column)}" for column in columns)
        inserted = connection.execute(
            text(
                f"INSERT INTO public.leads (id, client_id, airtable_record_id{names}) "  # noqa: S608
                "SELECT CASE WHEN EXISTS (SELECT FROM public.leads t WHERE t.id = r.id) "
                f"THEN gen_random_uuid() ELSE r.id END, :client_id, r.record_id{new} "
                "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) "
                "AS r (id uuid, record_id text, values jsonb), "
                "LATERAL jsonb_populate_record(NULL::public.leads, r.values) p "
                "ON CONFLICT (airtable_record_id) DO NOTHING "
                "RETURNING airtable_record_id, to_jsonb(leads)"
            ),
            {
                "client_id": client_id,
                "rows": dump(
                    [
                        {
                            "id": write.lead_id,
                            "record_id": write.record_id,
                            "values": write.row,
                        }
                        for write in part
                    ]
                ),
            },
        )
        rows = dict(tuple(row) for row in inserted)
        for write in part:
            took.insert(write, rows.get(write.record_id))


def _insertable(connection: Connection) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND table_name = 'leads' AND is_generated = 'NEVER' AND identity_generation IS NULL"
        )
    )
    return list(rows.scalars())


def lead_ids(connection: Connection, record_ids: Sequence[str]) -> Mapping[str, str]:
    """Record id to lead id, of leads that are there."""
    rows = connection.execute(
        text(
            "SELECT airtable_record_id, id::text AS id FROM public.leads "
            "WHERE airtable_record_id = ANY(:ids)"
        ),
        {"ids": list(record_ids)},
    )
    return {row.airtable_record_id: row.id for row in rows}
