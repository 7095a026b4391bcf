"""What is remembered of Airtable's metadata: the table's id, the fields' ids, when it was read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import orjson
from sqlalchemy import Connection, text

from reconciler_dagster.core.binding import Binding


def remembered(connection: Connection, client_id: str) -> dict[str, Binding]:
    """The bindings as last checked, by column."""
    rows = connection.execute(
        text(
            "SELECT field, airtable_field_id, airtable_name, airtable_type, choices, problem, "
            "fingerprint, holds, precision, valid "
            "FROM reconciler.field_binding WHERE client_id = :client_id"
        ),
        {"client_id": client_id},
    )
    return {
        row.field: Binding(
            row.field,
            row.airtable_field_id,
            row.airtable_name,
            row.airtable_type,
            None if row.choices is None else tuple(row.choices),
            row.problem,
            row.fingerprint or "",
            row.holds,
            row.precision,
            row.valid,
        )
        for row in rows
    }


def table(
    connection: Connection, client_id: str, configured_name: str
) -> tuple[str, datetime] | None:
    """The id of the leads table and when its metadata was read.

    None before the first time, or when another table is configured since.
    """
    row = connection.execute(
        text(
            "SELECT table_id, read_at FROM reconciler.table_binding "
            "WHERE client_id = :client_id AND configured_name = :configured_name"
        ),
        {"client_id": client_id, "configured_name": configured_name},
    ).one_or_none()
    return None if row is None else (row.table_id, row.read_at)


def lock(connection: Connection, client_id: str) -> None:
    """Keep other checks from looking at what is remembered, to the end of the transaction."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"reconciler mapping {client_id}"},
    )


def remember(
    connection: Connection,
    client_id: str,
    table_id: str,
    configured_name: str,
    bindings: Iterable[Binding],
) -> None:
    """Store a mapping check."""
    connection.execute(
        text(
            "INSERT INTO reconciler.table_binding (client_id, table_id, configured_name) "
            "VALUES (:client_id, :table_id, :configured_name) ON CONFLICT (client_id) "
            "DO UPDATE SET table_id = excluded.table_id, "
            "configured_name = excluded.configured_name, read_at = clock_timestamp()"
        ),
        {"client_id": client_id, "table_id": table_id, "configured_name": configured_name},
    )
    rows = [
        {
            "field": binding.column,
            "airtable_field_id": binding.field_id,
            "airtable_name": binding.name,
            "airtable_type": binding.type,
            "choices": binding.choices,
            "problem": binding.problem,
            "fingerprint": binding.fingerprint,
            "holds": binding.holds,
            "precision": binding.precision,
            "valid": binding.valid,
        }
        for binding in bindings
    ]
    connection.execute(
        text("DELETE FROM reconciler.field_binding WHERE client_id = :client_id"),
        {"client_id": client_id},
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.field_binding (client_id, field, airtable_field_id, "
            "airtable_name, airtable_type, choices, problem, fingerprint, holds, precision, valid) "
            "SELECT :client_id, r.field, r.airtable_field_id, r.airtable_name, r.airtable_type, "
            "r.choices, r.problem, r.fingerprint, r.holds, r.precision, r.valid "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (field text, "
            "airtable_field_id text, airtable_name text, airtable_type text, choices jsonb, "
            "problem text, fingerprint text, holds text, precision int, valid boolean)"
        ),
        {"client_id": client_id, "rows": orjson.dumps(rows).decode()},
    )


def forget_agreement(connection: Connection, client_id: str, columns: Iterable[str]) -> None:
    """Drop the baselines of some fields, so that they are met by the first-contact rule."""
    connection.execute(
        text(
            "UPDATE reconciler.baseline SET fields = fields - CAST(:columns AS text[]) "
            "WHERE client_id = :client_id"
        ),
        {"client_id": client_id, "columns": list(columns)},
    )
