"""Rehearsals and approvals that the console asks for, on their way to the job that does them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from reconciler_dagster.redaction import redacted


@dataclass(frozen=True)
class AdoptionRequest:
    """``state``: pending, started, succeeded or failed; ``message``: why."""

    id: int
    client_id: str
    approve: bool
    requested_by: str
    state: str = "pending"
    message: str | None = None


_COLUMNS = "id, client_id::text, approve, requested_by, state, message"


def ask(connection: Connection, client_id: str, by: str, *, approve: bool) -> None:
    """Ask for a rehearsal, or for the approval of what was shown; once at a time."""
    connection.execute(
        text(
            "INSERT INTO reconciler.adoption_request (client_id, approve, requested_by) "
            "SELECT :client_id, :approve, :by WHERE NOT EXISTS ("
            "SELECT FROM reconciler.adoption_request WHERE client_id = :client_id "
            "AND approve = :approve AND state IN ('pending', 'started'))"
        ),
        {"client_id": client_id, "approve": approve, "by": by},
    )


def pending(connection: Connection) -> list[AdoptionRequest]:
    """Those that no run has taken yet."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM reconciler.adoption_request "  # noqa: S608 - constants
            "WHERE state = 'pending' ORDER BY id"
        )
    )
    return [AdoptionRequest(*row) for row in rows]


def latest(connection: Connection, client_id: str) -> AdoptionRequest | None:
    """The newest of a client."""
    row = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM reconciler.adoption_request "  # noqa: S608 - constants
            "WHERE client_id = :client_id ORDER BY id DESC LIMIT 1"
        ),
        {"client_id": client_id},
    ).one_or_none()
    return AdoptionRequest(*row) if row else None


def mark(connection: Connection, request_id: int, state: str, message: str | None = None) -> None:
    """Say how far it is."""
    connection.execute(
        text(
            "UPDATE reconciler.adoption_request SET state = :state, message = :message, "
            "finished_at = CASE WHEN :state IN ('succeeded', 'failed') THEN clock_timestamp() END "
            "WHERE id = :id"
        ),
        {"id": request_id, "state": state, "message": message and redacted(message)[:2000]},
    )
