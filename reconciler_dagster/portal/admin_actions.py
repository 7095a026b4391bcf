"""What an admin decides: take a conflict's loser back, retry a quarantine, rule on a deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DataError, IntegrityError

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import MAIN, Pair
from reconciler_dagster.core.values import Unreadable, Value
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
    """Write the value that lost into its row again, as a new edit, and with it what it is carried
    over with: a claim comes back as a whole.
    """
    conflict = connection.execute(
        text("""
            SELECT id, run_id, client_id, sync, lead_id, record_id, field, losing_value, restored_at
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
    fields, users = shown.map.fields, directory(connection, pair)
    lost = {conflict.field: conflict.losing_value} | _lost_with(connection, shown, conflict)
    try:
        values = {c: fields[c].codec.to_postgres(value, users) for c, value in lost.items()}
    except Unreadable as reason:
        raise Problem(409, f"The value {reason}.", kind="not-restorable") from None
    try:
        _restore(connection, shown, user, conflict, values)
    except (DataError, IntegrityError) as error:
        why = plain.refusal(user, f"Postgres refuses the value: {told(error)}")
        raise Problem(409, why, kind="not-restorable") from None
    connection.execute(
        text("""
            UPDATE reconciler.conflict SET restored_at = clock_timestamp(), restored_by = :by
            WHERE client_id = :client AND sync = :sync AND record_id = :record AND run_id = :run
            AND field = ANY(:fields) AND restored_at IS NULL
        """),
        {**_of(conflict), "fields": list(values), "by": user.email},
    )


def _of(conflict: Row[Any]) -> dict[str, Any]:
    return {
        "client": conflict.client_id,
        "sync": conflict.sync,
        "record": conflict.record_id,
        "run": conflict.run_id,
    }


def _lost_with(connection: Connection, shown: Shown, conflict: Row[Any]) -> dict[str, Value]:
    """What the same run took from the cells that are carried over together with a conflict's, as
    the losing side had them: what lost is in the conflict log, and what was blank or gave way with
    it in the history alone.
    """
    partners = list(shown.map.fields.partners(conflict.field))
    if not partners:
        return {}
    found = connection.execute(
        text("""
            SELECT DISTINCT ON (field) field, value FROM (
                SELECT field, losing_value AS value, 1 AS place, id FROM reconciler.conflict
                WHERE client_id = :client AND sync = :sync AND record_id = :record
                AND run_id = :run AND field = ANY(:fields)
                UNION ALL
                SELECT field, old_value, 2, id FROM reconciler.history
                WHERE client_id = :client AND sync = :sync AND record_id = :record
                AND run_id = :run AND field = ANY(:fields)
            ) AS taken ORDER BY field, place, id DESC
        """),
        {**_of(conflict), "fields": partners},
    )
    return {row.field: row.value for row in found}


def _restore(
    connection: Connection,
    shown: Shown,
    user: User,
    conflict: Row[Any],
    values: dict[str, Any],
) -> None:
    """As an edit of the row; of a lead its log is told, too."""
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
        f"{' and '.join(map(shown.label, values))}: the losing value was taken back by {user.name}",
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


def rule_on_all_deletions(
    connection: Connection,
    pairs: Sequence[Pair],
    user: User,
    waiting: int,
    ruling: Literal["approved", "rejected"],
) -> None:
    """The same of all deletions that wait, in these syncs of one client. Raises 409 where they are
    not as many as the person has seen, ``waiting``: nobody rules on what came meanwhile.
    """
    client_id = UUID(pairs[0].client_id)
    user.require_admin(client_id)
    state = State(ruling)
    found = sum(len(decisions.decide(connection, p, None, state, user.email)) for p in pairs)
    if found != waiting:
        why = f"Nothing was done: {found:,} deletions wait by now, not {waiting:,}. Look again."
        raise Problem(409, why, kind="changed")
    sync_requests.put(connection, client_id, user.email)
