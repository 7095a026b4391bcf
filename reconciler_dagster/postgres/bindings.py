"""What is remembered of Airtable's metadata: the table's id, the fields' ids, when it was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.bound import Binding, Source
from reconciler_dagster.core.pairs import AirtableField
from reconciler_dagster.core.place import Place, PlaceChanged
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.jsonb import dump


def remembered(connection: Connection, pair: Pair) -> dict[str, Binding]:
    """The bindings as last checked, by column."""
    rows = connection.execute(
        text(
            "SELECT field, airtable_field_id, airtable_name, airtable_type, choices, problem, "
            "fingerprint, holds, precision, valid, also "
            "FROM reconciler.field_binding WHERE client_id = :client_id AND sync = :sync"
        ),
        pair.keys,
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
            tuple(map(_source, row.also)),
        )
        for row in rows
    }


def _source(kept: Mapping[str, Any]) -> Source:
    field = dict(kept["field"])
    choices = field.pop("choices")
    return Source(
        kept["declared"],
        AirtableField(**field, choices=None if choices is None else tuple(choices)),
    )


@dataclass(frozen=True)
class Bound:
    """Where a client's rows were found last. ``configured_name``: what the table was called in the
    definition then.
    """

    place: Place
    configured_name: str
    read_at: datetime


def bound(connection: Connection, pair: Pair) -> Bound | None:
    """What is remembered; None before the first time."""
    row = connection.execute(
        text(
            "SELECT base_id, table_id, configured_name, read_at FROM reconciler.table_binding "
            "WHERE client_id = :client_id AND sync = :sync"
        ),
        pair.keys,
    ).one_or_none()
    return None if row is None else Bound(Place(row[0], row[1]), row[2], row[3])


def require(connection: Connection, pair: Pair, place: Place) -> None:
    """Raise PlaceChanged unless what is remembered is about this place; it stays so to the end of
    the transaction.
    """
    row = connection.execute(
        text(
            "SELECT base_id, table_id FROM reconciler.table_binding "
            "WHERE client_id = :client_id AND sync = :sync FOR SHARE"
        ),
        pair.keys,
    ).one_or_none()
    if row is None or Place(*row) != place:
        raise PlaceChanged(
            "This client's base or table was changed while the run was at work; it wrote nothing "
            "more. The next run meets the new one."
        )


def lock(connection: Connection, pair: Pair) -> None:
    """Keep other checks from looking at what is remembered, to the end of the transaction."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"reconciler mapping {pair.client_id} {pair.sync}"},
    )


# What describes one place. Leads that were deactivated stay known, so that they are active again
# where their record is found; edits that no run has taken over yet are met like any others.
_OF_A_PLACE = {
    "baseline": "true",
    "cursor": "true",
    "seen": "true",
    "journal": "state <> 'acknowledged'",
    "quarantine": "true",
    "tombstone": "state <> 'deleted'",
    "month_listing": "true",
    "great_sync": "true",
    "field_binding": "true",
    "own_write": "true",
}


def forget_place(connection: Connection, pair: Pair, notice: str) -> None:
    """Drop all that describes the place where a client's rows were, and keep what to tell."""
    for table, which in _OF_A_PLACE.items():
        connection.execute(
            text(
                f"DELETE FROM reconciler.{table} "  # noqa: S608 - constants
                f"WHERE client_id = :client_id AND sync = :sync AND {which}"
            ),
            pair.keys,
        )
    connection.execute(
        text(
            "UPDATE reconciler.table_binding SET notice = :notice, told_by = NULL, "
            "moved_at = clock_timestamp() WHERE client_id = :client_id AND sync = :sync"
        ),
        {**pair.keys, "notice": notice},
    )


def tell(connection: Connection, pair: Pair, run_id: str) -> list[str]:
    """What the run is to tell of the client's place: once, whoever noticed it."""
    rows = connection.execute(
        text(
            "UPDATE reconciler.table_binding SET told_by = :run_id WHERE client_id = :client_id "
            "AND sync = :sync "
            "AND notice IS NOT NULL AND coalesce(told_by, :run_id) = :run_id RETURNING notice"
        ),
        {**pair.keys, "run_id": run_id},
    )
    return list(rows.scalars())


def notice(connection: Connection, pair: Pair) -> tuple[datetime, str] | None:
    """When the place became another one within a week, and what was told then."""
    row = connection.execute(
        text(
            "SELECT moved_at, notice FROM reconciler.table_binding WHERE client_id = :client_id "
            "AND sync = :sync "
            "AND moved_at > clock_timestamp() - interval '7 days'"
        ),
        pair.keys,
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def remember(
    connection: Connection,
    pair: Pair,
    place: Place,
    configured_name: str,
    bindings: Iterable[Binding],
) -> None:
    """Store a mapping check."""
    connection.execute(
        text(
            "INSERT INTO reconciler.table_binding (client_id, sync, base_id, table_id, "
            "configured_name) "
            "VALUES (:client_id, :sync, :base_id, :table_id, :configured_name) ON CONFLICT "
            "(client_id, sync) "
            "DO UPDATE SET base_id = excluded.base_id, table_id = excluded.table_id, "
            "configured_name = excluded.configured_name, read_at = clock_timestamp()"
        ),
        {
            **pair.keys,
            "base_id": place.base_id,
            "table_id": place.table_id,
            "configured_name": configured_name,
        },
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
            "also": [asdict(source) for source in binding.also],
        }
        for binding in bindings
    ]
    connection.execute(
        text("DELETE FROM reconciler.field_binding WHERE client_id = :client_id AND sync = :sync"),
        pair.keys,
    )
    connection.execute(
        text(
            "INSERT INTO reconciler.field_binding (client_id, sync, field, airtable_field_id, "
            "airtable_name, airtable_type, choices, problem, fingerprint, holds, precision, valid, "
            "also) "
            "SELECT :client_id, :sync, r.field, r.airtable_field_id, r.airtable_name, "
            "r.airtable_type, "
            "r.choices, r.problem, r.fingerprint, r.holds, r.precision, r.valid, r.also "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (field text, "
            "airtable_field_id text, airtable_name text, airtable_type text, choices jsonb, "
            "problem text, fingerprint text, holds text, precision int, valid boolean, also jsonb)"
        ),
        {**pair.keys, "rows": dump(rows)},
    )


def forget_agreement(connection: Connection, pair: Pair, columns: Iterable[str]) -> None:
    """Drop the baselines of some fields, so that they are met by the first-contact rule. What
    stands in a cell's place stays known as nobody's edit.
    """
    connection.execute(
        text(
            "UPDATE reconciler.baseline SET fields = fields - CAST(:columns AS text[]) "
            "WHERE client_id = :client_id AND sync = :sync"
        ),
        {**pair.keys, "columns": list(columns)},
    )
