"""The engine's memory for people: conflicts and the history of every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres.names import filled
from reconciler_dagster.postgres.staging import dump


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
