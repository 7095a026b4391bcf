"""What the console and the status endpoint read of a client, and of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.portal.problems import not_found


@dataclass(frozen=True)
class Client:
    """A client whose rows are synced with a base of its own."""

    id: UUID
    company_name: str
    airtable_base_id: str


def clients(connection: Connection, user: User) -> list[Client]:
    """The active clients that the user sees."""
    rows = connection.execute(
        text("""
            SELECT id, company_name, airtable_base_id FROM reconciler.clients()
            WHERE is_active AND (:every OR id = :own) ORDER BY company_name, id
        """),
        {"every": user.role is Role.SUPER_ADMIN, "own": user.client_id},
    )
    return [Client(*row) for row in rows]


def require_client(among: Sequence[Client], client_id: UUID) -> Client:
    """The client of that id; raises a 404 problem when the user does not see it."""
    for client in among:
        if client.id == client_id:
            return client
    raise not_found("client")


_RUN = """
    SELECT run_id, purpose, scope, state, started_at, finished_at, counts, message,
           extract(epoch FROM coalesce(finished_at, now()) - started_at)::float AS seconds
    FROM reconciler.run_summary WHERE client_id = :client
"""


def runs(connection: Connection, client_id: UUID, limit: int = 30) -> Sequence[RowMapping]:
    """The last runs of a client, the newest first."""
    statement = text(f"{_RUN} ORDER BY started_at DESC LIMIT :limit")
    return connection.execute(statement, {"client": client_id, "limit": limit}).mappings().all()


def find_run(connection: Connection, client_id: UUID, run_id: str) -> RowMapping | None:
    """One run of a client."""
    statement = text(f"{_RUN} AND run_id = :run")
    return connection.execute(statement, {"client": client_id, "run": run_id}).mappings().first()


@dataclass(frozen=True)
class Waiting:
    """How much of a client waits for a person, in all its syncs."""

    quarantine: int
    deletions: int


def waiting(connection: Connection, client_id: UUID) -> Waiting:
    """See Waiting."""
    row = connection.execute(
        text("""
            SELECT (SELECT count(*) FROM reconciler.quarantine WHERE client_id = :client),
                (SELECT count(*) FROM reconciler.tombstone WHERE client_id = :client
                 AND state = 'awaiting_approval')
        """),
        {"client": client_id},
    ).one()
    return Waiting(*row)
