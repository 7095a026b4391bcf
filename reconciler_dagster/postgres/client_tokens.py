"""Where each client's Airtable token comes from; the tokens themselves only as they are sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

Kind = Literal["env", "file", "table"]
# The place of a token in the table, for a person.
SEALED = "sealed in the portal's database"


@dataclass(frozen=True)
class Reference:
    """``name``: of the environment variable, or the file's path; ``sealed``: of a token in the
    table.
    """

    kind: Kind
    name: str | None = None
    sealed: bytes | None = None
    changed_at: datetime | None = None


def reference(connection: Connection, client_id: str) -> Reference | None:
    """A client's own; None where it has the default."""
    return all_references(connection, client_id).get(client_id)


def all_references(connection: Connection, client_id: str | None = None) -> dict[str, Reference]:
    """By client."""
    rows = connection.execute(
        text(
            "SELECT client_id::text, kind, name, sealed, changed_at FROM reconciler.client_token "
            "WHERE client_id = coalesce(CAST(:client_id AS uuid), client_id)"
        ),
        {"client_id": client_id},
    )
    return {row[0]: Reference(row[1], row[2], row[3] and bytes(row[3]), row[4]) for row in rows}


def put(connection: Connection, client_id: str, given: Reference) -> None:
    """Give a client its own, in the place of any before."""
    connection.execute(
        text(
            "INSERT INTO reconciler.client_token (client_id, kind, name, sealed) "
            "VALUES (:client_id, :kind, :name, :sealed) ON CONFLICT (client_id) DO UPDATE SET "
            "kind = excluded.kind, name = excluded.name, sealed = excluded.sealed, "
            "changed_at = clock_timestamp()"
        ),
        {
            "client_id": client_id,
            "kind": given.kind,
            "name": given.name,
            "sealed": given.sealed,
        },
    )


def remove(connection: Connection, client_id: str) -> bool:
    """Give a client the default again; whether it had another one."""
    removed = connection.execute(
        text("DELETE FROM reconciler.client_token WHERE client_id = :client_id"),
        {"client_id": client_id},
    )
    return removed.rowcount > 0


def hold_all(connection: Connection) -> None:
    """Keep everybody else from changing any until the transaction ends; reading goes on."""
    connection.execute(text("LOCK TABLE reconciler.client_token IN SHARE ROW EXCLUSIVE MODE"))
