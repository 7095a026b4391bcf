"""The journal of outbound changes: planned, sent, acknowledged.

Written before anything is sent. A row that is not acknowledged means that the outcome is not
known; the next run settles it by comparing values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.jsonb import dump


@dataclass(frozen=True)
class Entry:
    """One record's outbound values, canonical. ``merged_over``: of merged texts, the one of
    Airtable that the portal's addition was put on.
    """

    id: int
    record_id: str
    lead_id: str
    fields: Row
    merged_over: Row


def open_entries(
    connection: Connection, pair: Pair, record_ids: Iterable[str] | None = None
) -> dict[str, list[Entry]]:
    """What is not acknowledged (of some records), by record id, oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, record_id, lead_id::text, fields, merged_over FROM reconciler.journal "
            "WHERE client_id = :client_id AND sync = :sync AND state <> 'acknowledged' "
            "AND (CAST(:record_ids AS text[]) IS NULL OR record_id = ANY(:record_ids)) ORDER BY id"
        ),
        {**pair.keys, "record_ids": None if record_ids is None else list(record_ids)},
    )
    entries: dict[str, list[Entry]] = {}
    for row in rows:
        entries.setdefault(row.record_id, []).append(Entry(*row))
    return entries


def plan(
    connection: Connection,
    pair: Pair,
    run_id: str,
    outbound: Mapping[str, Row],
    lead_ids: Mapping[str, str],
    merged_over: Mapping[str, Row],
) -> None:
    """Write down what is going to be sent: record id to canonical values."""
    rows = [
        {
            "record_id": record_id,
            "lead_id": lead_ids[record_id],
            "fields": fields,
            "merged_over": merged_over.get(record_id, {}),
        }
        for record_id, fields in outbound.items()
    ]
    connection.execute(
        text(
            "INSERT INTO reconciler.journal "
            "(run_id, client_id, sync, lead_id, record_id, fields, merged_over) "
            "SELECT :run_id, :client_id, :sync, r.lead_id, r.record_id, r.fields, r.merged_over "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(record_id text, lead_id uuid, fields jsonb, merged_over jsonb)"
        ),
        {**pair.keys, "run_id": run_id, "rows": dump(rows)},
    )


def mark_sent(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> None:
    """Just before the call: from here on the outcome may be unknown."""
    connection.execute(
        text(
            "UPDATE reconciler.journal SET state = 'sent', sent_at = clock_timestamp() "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids) AND "
            "state = 'planned'"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )


def close(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> None:
    """Acknowledged, refused or compared: in every case the outcome is known now."""
    connection.execute(
        text(
            "UPDATE reconciler.journal SET state = 'acknowledged', "
            "acknowledged_at = clock_timestamp() WHERE client_id = :client_id AND sync = :sync "
            "AND record_id = ANY(:record_ids) AND state <> 'acknowledged'"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )
