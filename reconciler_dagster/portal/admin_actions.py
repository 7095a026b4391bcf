"""What an admin decides: take a conflict's loser back, retry a quarantine, rule on a deletion."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, text

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.core.values import Unreadable, Value
from reconciler_dagster.portal import actions, sync_requests
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.problems import Problem, not_found
from reconciler_dagster.postgres import decisions, quarantine
from reconciler_dagster.postgres.clients import directory

_RESTORED = actions.Event("CONFLICT_RESTORED", "MANUAL", "ui:conflict-restore")


def editable(sync: SyncMap) -> frozenset[str]:
    """The columns that people edit on either side; the others are Airtable's."""
    return frozenset(field.column for field in sync.fields if field.both)


def take_back(connection: Connection, sync: SyncMap, user: User, conflict_id: int) -> UUID:
    """Write the value that lost into the lead again, as a new edit, and with it what it is carried
    over with: a claim comes back as a whole. Gives the lead's id.
    """
    conflict = connection.execute(
        text("""
            SELECT id, run_id, client_id, lead_id, field, losing_value, restored_at
            FROM reconciler.conflict WHERE id = :id FOR UPDATE
        """),
        {"id": conflict_id},
    ).first()
    if conflict is None or not user.sees(conflict.client_id):
        raise not_found("conflict")
    user.require_admin(conflict.client_id)
    if conflict.restored_at is not None:
        raise Problem(409, "This value has been taken back already.", kind="restored")
    if conflict.field not in editable(sync):
        raise Problem(
            409,
            f"{label(sync, conflict.field)} belongs to Airtable: change it there.",
            kind="owned-by-airtable",
        )
    lost = {conflict.field: conflict.losing_value} | _lost_with(connection, sync, conflict)
    users = directory(connection, Pair(str(conflict.client_id), sync))
    try:
        values = {
            column: sync.fields[column].codec.to_postgres(value, users)
            for column, value in lost.items()
        }
    except Unreadable as reason:
        raise Problem(409, f"The value {reason}.", kind="not-restorable") from None
    lead = actions.lock(connection, user, conflict.lead_id)
    names = " and ".join(label(sync, column) for column in values)
    actions.edit(
        connection,
        user,
        lead,
        values,
        _RESTORED,
        f"{names}: the losing value was taken back by {user.name}",
        metadata={"conflict": conflict.id},
    )
    connection.execute(
        text("""
            UPDATE reconciler.conflict SET restored_at = clock_timestamp(), restored_by = :by
            WHERE run_id = :run AND lead_id = :lead AND field = ANY(:fields)
              AND restored_at IS NULL
        """),
        {
            "run": conflict.run_id,
            "lead": conflict.lead_id,
            "fields": list(values),
            "by": user.email,
        },
    )
    return lead.id  # type: ignore[no-any-return]


def _lost_with(connection: Connection, sync: SyncMap, conflict: Row[Any]) -> dict[str, Value]:
    """What the same run took from the cells that are carried over together with a conflict's, as
    the losing side had them: what lost is in the conflict log, and what was blank or gave way with
    it in the history alone.
    """
    found = connection.execute(
        text("""
            SELECT DISTINCT ON (field) field, value FROM (
                SELECT field, losing_value AS value, 1 AS place, id FROM reconciler.conflict
                WHERE run_id = :run AND lead_id = :lead AND field = ANY(:fields)
                UNION ALL
                SELECT field, old_value, 2, id FROM reconciler.history
                WHERE run_id = :run AND lead_id = :lead AND field = ANY(:fields)
            ) AS taken ORDER BY field, place, id DESC
        """),
        {
            "run": conflict.run_id,
            "lead": conflict.lead_id,
            "fields": list(sync.fields.partners(conflict.field)),
        },
    )
    return {row.field: row.value for row in found}


def retry_quarantine(
    connection: Connection,
    user: User,
    client_id: UUID,
    record_id: str | None,
    field: str,
    direction: str,
) -> None:
    """Try a cell again with the next run, which is asked for at once; without a record, those of
    all leads.
    """
    user.require_admin(client_id)
    if not quarantine.retry(connection, str(client_id), record_id, field, direction):
        raise not_found("quarantined value; it may have gone through meanwhile")
    sync_requests.put(connection, client_id, user.email)


def rule_on_deletion(
    connection: Connection,
    pair: Pair,
    user: User,
    client_id: UUID,
    record_id: str,
    ruling: Literal["approved", "rejected"],
) -> None:
    """Say whether a lead that is gone from Airtable is to be deleted here; the next run does it."""
    user.require_admin(client_id)
    found = decisions.decide(connection, pair, [record_id], State(ruling), user.email)
    if not found:
        raise not_found("deletion waiting; the record may have come back meanwhile")
    sync_requests.put(connection, client_id, user.email)


def label(sync: SyncMap, column: str) -> str:
    """A column as people know it: the name of its Airtable field."""
    return sync.fields[column].airtable if column in sync.fields else column
