"""What an admin decides: take a conflict's loser back, retry a quarantine, rule on a deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DataError, IntegrityError

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import MAIN, Pair
from reconciler_dagster.core.values import Unreadable
from reconciler_dagster.portal import actions, plain, rows, sync_requests
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.problems import Problem, not_found
from reconciler_dagster.portal.shown import Shown
from reconciler_dagster.postgres import choices, decisions, quarantine
from reconciler_dagster.postgres.choices import Side
from reconciler_dagster.postgres.clients import base_of, directory
from reconciler_dagster.telling import told

# The syncs that are in force for a base, by name.
ShownOf = Callable[[str | None], Mapping[str, Shown]]
_RESTORED = actions.Event("CONFLICT_RESTORED", "MANUAL", "ui:conflict-restore")


def take_back(connection: Connection, shown_of: ShownOf, user: User, conflict_id: int) -> None:
    """Write the value that lost into its row again, as a new edit."""
    conflict = connection.execute(
        text("""
            SELECT id, client_id, sync, lead_id, record_id, field, losing_value, restored_at
            FROM reconciler.conflict WHERE id = :id FOR UPDATE
        """),
        {"id": conflict_id},
    ).first()
    if conflict is None or not user.sees(conflict.client_id):
        raise not_found("conflict")
    user.require_admin(conflict.client_id)
    if conflict.restored_at is not None:
        raise Problem(409, "This value has been taken back already.", kind="restored")
    shown = shown_of(base_of(connection, str(conflict.client_id))).get(conflict.sync)
    if shown is None or conflict.field not in shown.map.fields:
        raise Problem(409, f"{conflict.field} is not synced any more.", kind="not-restorable")
    actions.require_editable(shown, [conflict.field])
    pair = Pair(str(conflict.client_id), shown.map)
    try:
        value = shown.map.fields[conflict.field].codec.to_postgres(
            conflict.losing_value, directory(connection, pair)
        )
    except Unreadable as reason:
        raise Problem(409, f"The value {reason}.", kind="not-restorable") from None
    try:
        _restore(connection, shown, user, conflict, value)
    except (DataError, IntegrityError) as error:
        why = plain.refusal(user, f"Postgres refuses the value: {told(error)}")
        raise Problem(409, why, kind="not-restorable") from None
    connection.execute(
        text("""
            UPDATE reconciler.conflict SET restored_at = clock_timestamp(), restored_by = :by
            WHERE id = :id
        """),
        {"id": conflict.id, "by": user.email},
    )


def _restore(
    connection: Connection, shown: Shown, user: User, conflict: Row[Any], value: Any
) -> None:
    """As an edit of the row; of a lead its log is told, too."""
    values = {conflict.field: value}
    if shown.name != MAIN:
        row = rows.lock(connection, conflict.client_id, shown, conflict.record_id)
        rows.write(connection, shown.map.table, row.key, values)
        return
    actions.edit(
        connection,
        lambda *_: shown,
        user,
        actions.lock(connection, user, conflict.lead_id),
        values,
        _RESTORED,
        f"{shown.label(conflict.field)}: the losing value was taken back by {user.name}",
        metadata={"conflict": conflict.id},
    )


def choose(
    connection: Connection, pair: Pair, user: User, record_id: str, field: str, side: Side
) -> None:
    """Say which side's value stands of a cell that both edited and whose field is on hold; the next
    run, which is asked for at once, carries it over.
    """
    user.require_admin(UUID(pair.client_id))
    if not choices.choose(connection, pair, f"choice by {user.email}", record_id, field, side):
        raise not_found("cell that waits for a choice; somebody may have chosen meanwhile")
    sync_requests.put(connection, UUID(pair.client_id), user.email)


def retry_quarantine(
    connection: Connection,
    user: User,
    client_id: UUID,
    sync: str,
    record_id: str | None,
    field: str,
    direction: str,
) -> None:
    """Try a cell again with the next run, which is asked for at once; without a record, those of
    all rows.
    """
    user.require_admin(client_id)
    if not quarantine.retry(connection, str(client_id), record_id, field, direction, sync=sync):
        raise not_found("quarantined value; it may have gone through meanwhile")
    sync_requests.put(connection, client_id, user.email)


def rule_on_deletion(
    connection: Connection,
    pair: Pair,
    user: User,
    record_id: str,
    ruling: Literal["approved", "rejected"],
) -> None:
    """Say whether a row that is gone from Airtable is to be deleted here; the next run does it."""
    client_id = UUID(pair.client_id)
    user.require_admin(client_id)
    found = decisions.decide(connection, pair, [record_id], State(ruling), user.email)
    if not found:
        raise not_found("deletion waiting; the record may have come back meanwhile")
    sync_requests.put(connection, client_id, user.email)
