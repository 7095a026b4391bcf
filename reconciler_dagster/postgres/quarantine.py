"""Quarantine: cells that one side cannot take, with the reason, retried with back-off.

A retry always takes the current value, never the one that was refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from reconciler_dagster.core.brakes import OWN_WRITES_ALLOWED
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.core.words import NO_OPTION
from reconciler_dagster.postgres.encoding import storable
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import statement
from reconciler_dagster.redaction import redacted

Direction = Literal["to_postgres", "to_airtable"]

# Stands for a field where the lead as a whole is refused.
WHOLE_LEAD = "(lead)"

# 15 minutes, doubled with every attempt, up to a day.
FIRST_WAIT_MINUTES = 15
LONGEST_WAIT_MINUTES = 24 * 60


@dataclass(frozen=True)
class Refusal:
    """A cell that could not be carried over. ``value``: canonical; None where unreadable."""

    record_id: str
    field: str
    direction: Direction
    reason: str
    value: Value = None


def put(connection: Connection, pair: Pair, refusals: Iterable[Refusal]) -> None:
    """Quarantine cells, or note a further failed attempt. Of a cell's reasons the first is kept."""
    first: dict[tuple[str, str, Direction], Refusal] = {}
    for refusal in refusals:
        first.setdefault((refusal.record_id, refusal.field, refusal.direction), refusal)
    rows = [
        {
            "record_id": refusal.record_id,
            "field": refusal.field,
            "direction": refusal.direction,
            "reason": redacted(refusal.reason),
            "value": refusal.value,
        }
        for refusal in first.values()
    ]
    connection.execute(
        text(
            "INSERT INTO reconciler.quarantine AS q "
            "(client_id, sync, record_id, field, direction, value, reason, next_attempt_at) "
            "SELECT :client_id, :sync, r.record_id, r.field, r.direction, r.value, r.reason, "
            "clock_timestamp() + make_interval(mins => :first) "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(record_id text, field text, direction text, reason text, value jsonb) "
            "ON CONFLICT (client_id, sync, record_id, field, direction) DO UPDATE SET "
            "value = excluded.value, reason = excluded.reason, attempts = q.attempts + 1, "
            "last_seen_at = clock_timestamp(), next_attempt_at = clock_timestamp() + "
            "make_interval(mins => CAST(least(:longest, :first * power(2, least(q.attempts, 20))) "
            "AS int)) WHERE q.next_attempt_at <= clock_timestamp() "
            "OR q.value IS DISTINCT FROM excluded.value OR q.reason <> excluded.reason"
        ),
        {
            **pair.keys,
            "rows": storable(connection, dump(rows)),
            "first": FIRST_WAIT_MINUTES,
            "longest": LONGEST_WAIT_MINUTES,
        },
    )


def cells(
    connection: Connection, pair: Pair, record_ids: Iterable[str]
) -> set[tuple[str, str, str]]:
    """What is in quarantine of these records: record id, field, direction."""
    rows = connection.execute(
        text(
            "SELECT record_id, field, direction FROM reconciler.quarantine "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )
    return {(row[0], row[1], row[2]) for row in rows}


def release(
    connection: Connection,
    pair: Pair,
    record_ids: Iterable[str],
    still_refused: Collection[tuple[str, str, str]],
    unread: Collection[str],
) -> None:
    """Drain what went through: all cells of these records but those refused again.

    ``unread``: those whose Airtable side was not read. Nothing can be said of it then.
    """
    connection.execute(
        text(
            "DELETE FROM reconciler.quarantine q WHERE client_id = :client_id AND sync = :sync "
            "AND record_id = ANY(:record_ids) AND (record_id <> ALL(:unread) "
            "OR (direction = 'to_airtable' AND field <> :whole_lead)) AND NOT EXISTS ("
            "SELECT FROM jsonb_to_recordset(CAST(:kept AS jsonb)) AS r "
            "(record_id text, field text, direction text) WHERE r.record_id = q.record_id "
            "AND r.field = q.field AND r.direction = q.direction)"
        ),
        {
            **pair.keys,
            "record_ids": list(record_ids),
            "unread": list(unread),
            "whole_lead": WHOLE_LEAD,
            "kept": dump(
                [
                    dict(zip(("record_id", "field", "direction"), key, strict=True))
                    for key in still_refused
                ]
            ),
        },
    )


def release_sent(connection: Connection, pair: Pair, sent: Mapping[str, Collection[str]]) -> None:
    """Drain what Airtable took: record id to fields."""
    cells = [(record_id, field) for record_id, fields in sent.items() for field in fields]
    connection.execute(
        text(
            "DELETE FROM reconciler.quarantine q USING "
            "unnest(CAST(:record_ids AS text[]), CAST(:fields AS text[])) AS s (record_id, field) "
            "WHERE q.client_id = :client_id AND q.sync = :sync AND q.direction = 'to_airtable' "
            "AND q.record_id = s.record_id AND q.field = s.field"
        ),
        {
            **pair.keys,
            "record_ids": [record_id for record_id, _ in cells],
            "fields": [field for _, field in cells],
        },
    )


def due(connection: Connection, pair: Pair, at: datetime) -> list[str]:
    """Records with a cell whose next attempt is due at that moment."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT record_id FROM reconciler.quarantine "
            "WHERE client_id = :client_id AND sync = :sync AND next_attempt_at <= :at"
        ),
        {**pair.keys, "at": at},
    )
    return [row.record_id for row in rows]


def retry(
    connection: Connection,
    client_id: str | None = None,
    record_id: str | None = None,
    field: str | None = None,
    direction: str | None = None,
    sync: str | None = None,
) -> int:
    """Have the next run try cells again, with their current values. Returns how many.

    One that was stopped because the engine had written it too often is let go once more.
    """
    chosen = connection.execute(
        text(
            "WITH chosen AS (UPDATE reconciler.quarantine SET next_attempt_at = clock_timestamp() "
            "WHERE (CAST(:client_id AS uuid) IS NULL OR client_id = :client_id) "
            "AND (CAST(:record_id AS text) IS NULL OR record_id = :record_id) "
            "AND (CAST(:field AS text) IS NULL OR field = :field) "
            "AND (CAST(:sync AS text) IS NULL OR sync = :sync) "
            "AND (CAST(:direction AS text) IS NULL OR direction = :direction) "
            "RETURNING client_id, sync, record_id, field), "
            "freed AS (UPDATE reconciler.own_write w SET runs = least(w.runs, :often - 1) "
            "FROM chosen c WHERE w.client_id = c.client_id AND w.sync = c.sync "
            "AND w.record_id = c.record_id AND w.field = c.field) SELECT count(*) FROM chosen"
        ),
        {
            "client_id": client_id,
            "record_id": record_id,
            "field": field,
            "direction": direction,
            "sync": sync,
            "often": OWN_WRITES_ALLOWED,
        },
    )
    return int(chosen.scalar_one())


def records(
    connection: Connection, pair: Pair, record_ids: Iterable[str] | None = None
) -> set[str]:
    """Every record (of some) with a cell in quarantine."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT record_id FROM reconciler.quarantine "
            "WHERE client_id = :client_id AND sync = :sync "
            "AND (CAST(:record_ids AS text[]) IS NULL OR record_id = ANY(:record_ids))"
        ),
        {**pair.keys, "record_ids": None if record_ids is None else list(record_ids)},
    )
    return set(rows.scalars())


def records_by_client(connection: Connection) -> Counter[str]:
    """How many records of each client have a cell in quarantine, in any of its syncs."""
    rows = connection.execute(
        text(
            "SELECT client_id::text, count(DISTINCT (sync, record_id)) FROM reconciler.quarantine "
            "GROUP BY client_id"
        )
    )
    return Counter({row[0]: row[1] for row in rows})


def resolvable(connection: Connection, pair: Pair) -> list[str]:
    """Records with a link in quarantine whose rows are all there by now."""
    found: set[str] = set()
    for column, sync in pair.links.items():
        rows = connection.execute(
            statement(
                pair.map.linked[sync],
                "SELECT q.record_id FROM reconciler.quarantine q "
                "WHERE q.client_id = :client_id AND q.sync = :sync AND q.field = :column "
                "AND q.direction = 'to_postgres' AND q.value IS NOT NULL AND NOT EXISTS ("
                "SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(q.value) "
                "WHEN 'array' THEN q.value ELSE jsonb_build_array(q.value) END) AS wanted (id) "
                "WHERE NOT EXISTS (SELECT FROM {table} l WHERE {record_id} = wanted.id))",
            ),
            {**pair.keys, "column": column},
        )
        found |= set(rows.scalars())
    return sorted(found)


def awaiting_options(connection: Connection, pair: Pair) -> Mapping[tuple[str, str], Value]:
    """Outbound cells that are no option of Airtable's, whenever they are due, with their values."""
    rows = connection.execute(
        text(
            "SELECT record_id, field, value FROM reconciler.quarantine "
            "WHERE client_id = :client_id AND sync = :sync AND direction = 'to_airtable' "
            "AND reason LIKE '%' || :no_option || '%'"
        ),
        {**pair.keys, "no_option": NO_OPTION},
    )
    return {(row.record_id, row.field): row.value for row in rows}


def waiting_values(
    connection: Connection, pair: Pair, record_ids: Iterable[str], at: datetime
) -> Mapping[tuple[str, str], Value]:
    """Outbound cells not due at that moment, with the value that was refused: no use sending it
    again.
    """
    rows = connection.execute(
        text(
            "SELECT record_id, field, value FROM reconciler.quarantine "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids) "
            "AND direction = 'to_airtable' AND next_attempt_at > :at"
        ),
        {**pair.keys, "record_ids": list(record_ids), "at": at},
    )
    return {(row.record_id, row.field): row.value for row in rows}
