"""A row of any sync on both sides, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from reconciler_dagster.core import reading
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.portal import plain
from reconciler_dagster.portal.auth import User
from reconciler_dagster.postgres.clients import directory
from reconciler_dagster.postgres.names import quoted, statement


@dataclass(frozen=True)
class FieldView:
    """One field of a row on both sides, all in canonical form."""

    column: str
    airtable_name: str
    editable: bool
    portal: Value
    baseline: Value
    airtable: Value
    unreadable: bool
    """Airtable holds something that has no canonical form; the quarantine's reason says what."""
    agreed: bool
    quarantined: str | None

    @property
    def telling(self) -> bool:
        """Whether there is anything to see: a value on some side, or a difference."""
        values = (self.portal, self.baseline, self.airtable)
        return not self.agreed or any(value not in (None, "", []) for value in values)


def fields_of(connection: Connection, pair: Pair, user: User, key: Any) -> list[FieldView]:
    """The portal's value of a row, by its primary key, the baseline, and Airtable's as last seen,
    field by field.

    Airtable was last seen to hold the baseline, save for a value that Postgres could not take.
    """
    row = connection.execute(
        statement(
            pair.table,
            "SELECT to_jsonb(l) AS row, b.fields AS baseline, "
            "(SELECT jsonb_object_agg(q.field || ' ' || q.direction, "
            "jsonb_build_array(q.value, q.reason)) FROM reconciler.quarantine q "
            "WHERE q.client_id = :client_id AND q.sync = :sync "
            "AND q.record_id = {record_id}) AS quarantine "
            "FROM {table} l LEFT JOIN reconciler.baseline b ON b.client_id = :client_id "
            "AND b.sync = :sync AND b.record_id = {record_id} WHERE l.{key} = :key",
            key=quoted(pair.table.key),
        ),
        {**pair.keys, "key": key},
    ).one()
    users = directory(connection, pair)
    baseline, refused = row.baseline or {}, row.quarantine or {}
    views = []
    for field in pair.map.fields:
        if field.column not in row.row:  # the field is stopped: there is no such column
            continue
        inward = refused.get(f"{field.column} to_postgres")
        outward = refused.get(f"{field.column} to_airtable")
        there = None if inward is None else _of_airtable(inward[0])
        portal = reading.held(row.row, field, users)
        known, held_up = baseline.get(field.column), inward or outward
        views.append(
            FieldView(
                column=field.column,
                airtable_name=field.airtable,
                editable=field.both,
                portal=portal,
                baseline=known,
                airtable=there if inward else known,
                unreadable=inward is not None and inward[0] is None,
                agreed=field.column in baseline and portal == known and not inward,
                quarantined=plain.refusal(user, held_up[1]) if held_up else None,
            )
        )
    return views


def _of_airtable(held: Any) -> Value:
    """Airtable's value: of a cell that waits for a choice, one of two."""
    return held["airtable"] if isinstance(held, dict) else held
