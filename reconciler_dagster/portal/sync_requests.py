"""Manual syncs: one row is asked for, a sensor of Dagster starts the run, the run writes back."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from reconciler_dagster.portal import plain
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.portal.models import SyncRequest
from reconciler_dagster.portal.problems import not_found

# Two presses at once take their turns, so that the second sees the first's row.
_TURN = text("""
    SELECT pg_advisory_xact_lock(hashtext('reconciler.manual_sync_request'), hashtext(:client))
""")
# FOR SHARE: the run that is about to start the row waits until this transaction's edits are there
# to be read, so joining is as good as asking anew.
_JOIN = text("""
    SELECT id FROM reconciler.manual_sync_request
    WHERE client_id = CAST(:client AS uuid) AND state = 'pending' ORDER BY id LIMIT 1 FOR SHARE
""")
_ASK = text("""
    INSERT INTO reconciler.manual_sync_request (client_id, requested_by)
    VALUES (CAST(:client AS uuid), :by) RETURNING id
""")
_COLUMNS = """
    SELECT id, client_id, state, requested_by, requested_at, started_at, finished_at, run_id,
           counts, message
    FROM reconciler.manual_sync_request
"""


def put(connection: Connection, client_id: UUID, requested_by: str) -> int:
    """Ask for a sync of a client, or join the request that still waits; gives its id."""
    client = {"client": str(client_id)}
    connection.execute(_TURN, client)
    waiting = connection.scalar(_JOIN, client)
    if waiting is not None:
        return int(waiting)
    return int(connection.execute(_ASK, {**client, "by": requested_by}).scalar_one())


def get(connection: Connection, user: User, request_id: int, ui_url: str) -> SyncRequest:
    """A request of a client that the user may sync; raises a 404 problem for any other."""
    row = connection.execute(
        text(f"{_COLUMNS} WHERE id = :id"), {"id": request_id}
    ).mappings().first()  # fmt: skip
    if row is None or not user.sees(row["client_id"]):
        raise not_found("sync request")
    told = {**row, "message": plain.run_message(user, row["message"])}
    return SyncRequest(**told, run_url=run_url(user, ui_url, row["run_id"]))


def latest(connection: Connection, client_id: UUID) -> int | None:
    """The newest request of a client."""
    found = connection.scalar(
        text("SELECT max(id) FROM reconciler.manual_sync_request WHERE client_id = :client"),
        {"client": client_id},
    )
    return None if found is None else int(found)


def run_url(user: User, ui_url: str, run_id: str | None) -> str | None:
    """Where Dagster's UI shows a run; for its operators alone."""
    shown = run_id and user.role is Role.SUPER_ADMIN
    return f"{ui_url.rstrip('/')}/runs/{run_id}" if shown else None
