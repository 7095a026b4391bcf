"""The engine's memory for people: conflicts and the history of every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import filled


def add_conflicts(
    connection: Connection, pair: Pair, run_id: str, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Keep what lost. Rows: record_id, lead_id, field, kind, baseline, winning, losing."""
    connection.execute(
        text(
            "INSERT INTO reconciler.conflict (run_id, client_id, sync, lead_id, record_id, field, "
            "kind, "
            "baseline_value, winning_value, losing_value) "
            "SELECT :run_id, :client_id, :sync, r.lead_id, r.record_id, r.field, r.kind, "
            "r.baseline, "
            "r.winning, r.losing FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(lead_id uuid, record_id text, field text, kind text, baseline jsonb, "
            "winning jsonb, losing jsonb)"
        ),
        {"run_id": run_id, **pair.keys, "rows": dump(list(rows))},
    )


def add_history(
    connection: Connection,
    pair: Pair,
    run_id: str,
    side: str,
    rows: Iterable[Mapping[str, Any]],
) -> None:
    """Keep what was written. ``side``: where; rows: record_id, lead_id, field, old, new."""
    connection.execute(
        text(
            "INSERT INTO reconciler.history "
            "(run_id, client_id, sync, lead_id, record_id, field, side, old_value, new_value) "
            "SELECT :run_id, :client_id, :sync, r.lead_id, r.record_id, r.field, :side, r.old, "
            "r.new "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(lead_id uuid, record_id text, field text, old jsonb, new jsonb)"
        ),
        {"run_id": run_id, **pair.keys, "side": side, "rows": dump(list(rows))},
    )


@dataclass(frozen=True)
class Change:
    """One cell that a run wrote. ``side``: where; values are canonical."""

    field: str
    side: str
    old: Any
    new: Any
    run_id: str
    changed_at: datetime


def history_of(connection: Connection, tables: Iterable[Table], lead: str) -> list[Change] | None:
    """What was written in a row, newest first; None where there is no such row.

    ``tables``: those that are synced. ``lead``: its id, or its record id.
    """
    rows_of = " UNION ".join(
        filled(
            table,
            "SELECT {row_id}::text FROM {table} l "
            "WHERE {record_id} = :lead OR {row_id}::text = :lead",
        )
        for table in tables
    )
    known = connection.execute(
        text(
            f"{rows_of} UNION SELECT lead_id::text FROM reconciler.baseline "  # noqa: S608
            "WHERE lead_id::text = :lead OR record_id = :lead"
        ),
        {"lead": lead},
    ).scalar()
    if known is None:
        return None
    rows = connection.execute(
        text(
            "SELECT field, side, old_value, new_value, run_id, changed_at "
            "FROM reconciler.history WHERE lead_id = :lead_id ORDER BY changed_at DESC, id DESC"
        ),
        {"lead_id": known},
    )
    return [Change(*row) for row in rows]


@dataclass(frozen=True)
class Conflict:
    """A value that lost. ``kind``: of core.plan; values are canonical. ``restored_by``: who took it
    back.
    """

    id: int
    client_id: str
    client: str
    sync: str
    record_id: str
    field: str
    kind: str
    winning: Any
    losing: Any
    run_id: str
    happened_at: datetime
    restored_at: datetime | None
    restored_by: str | None


def conflicts(
    connection: Connection, client_id: str | None, record_id: str | None, limit: int
) -> list[Conflict]:
    """The last conflicts, newest first; of all active clients and all records unless given."""
    rows = connection.execute(
        text(
            "SELECT f.id, f.client_id::text, c.company_name, f.sync, f.record_id, f.field, f.kind, "
            "f.winning_value, f.losing_value, f.run_id, f.happened_at, f.restored_at, "
            "f.restored_by FROM reconciler.conflict f "
            "JOIN reconciler.clients() c ON c.id = f.client_id "
            "WHERE c.is_active AND (CAST(:client_id AS uuid) IS NULL OR f.client_id = :client_id) "
            "AND (CAST(:record_id AS text) IS NULL OR f.record_id = :record_id) "
            "ORDER BY f.happened_at DESC, f.id DESC LIMIT :limit"
        ),
        {"client_id": client_id, "record_id": record_id, "limit": limit},
    )
    return [Conflict(*row) for row in rows]
