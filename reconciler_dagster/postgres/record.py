"""The engine's memory for people: conflicts and the history of every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.postgres.staging import dump

HISTORY_KEPT_DAYS = 90


def conflicts(
    connection: Connection, client_id: str, run_id: str, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Keep what lost. Rows: record_id, lead_id, field, kind, baseline, winning, losing."""
    connection.execute(
        text(
            "INSERT INTO reconciler.conflict (run_id, client_id, lead_id, record_id, field, kind, "
            "baseline_value, winning_value, losing_value) "
            "SELECT :run_id, :client_id, r.lead_id, r.record_id, r.field, r.kind, r.baseline, "
            "r.winning, r.losing FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(lead_id uuid, record_id text, field text, kind text, baseline jsonb, "
            "winning jsonb, losing jsonb)"
        ),
        {"run_id": run_id, "client_id": client_id, "rows": dump(list(rows))},
    )


def history(
    connection: Connection,
    client_id: str,
    run_id: str,
    side: str,
    rows: Iterable[Mapping[str, Any]],
) -> None:
    """Keep what was written. ``side``: where; rows: record_id, lead_id, field, old, new."""
    connection.execute(
        text(
            "INSERT INTO reconciler.history "
            "(run_id, client_id, lead_id, record_id, field, side, old_value, new_value) "
            "SELECT :run_id, :client_id, r.lead_id, r.record_id, r.field, :side, r.old, r.new "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(lead_id uuid, record_id text, field text, old jsonb, new jsonb)"
        ),
        {"run_id": run_id, "client_id": client_id, "side": side, "rows": dump(list(rows))},
    )
