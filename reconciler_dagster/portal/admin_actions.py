"""What an admin decides: take a conflict's loser back, retry a quarantine, rule on a deletion."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.core.values import Unreadable
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
    """Write the value that lost into the lead again, as a new edit; gives the lead's id."""
    conflict = connection.execute(
        text("""
            SELECT id, client_id, lead_id, field, losing_value, restored_at
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
    try:
        value = sync.fields[conflict.field].codec.to_postgres(
            conflict.losing_value,
            directory(connection, Pair(str(conflict.client_id), sync)),
        )
    except Unreadable as reason:
        raise Problem(409, f"The value {reason}.", kind="not-restorable") from None
    lead = actions.lock(connection, user, conflict.lead_id)
    actions.edit(
        connection,
        user,
        lead,
        {conflict.field: value},
        _RESTORED,
        f"{label(sync, conflict.field)}: the losing value was taken back by {user.name}",
        metadata={"conflict": conflict.id},
    )
    connection.execute(
        text("""
            UPDATE reconciler.conflict SET restored_at = clock_timestamp(), restored_by = :by
            WHERE id = :id
        """),
        {"id": conflict.id, "by": user.email},
    )
    return lead.id  # type: ignore[no-any-return]


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
