"""Which clients may be written: the consent that a person has given, and taken back for a while."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.adoption import Standing, State
from reconciler_dagster.postgres.clients import Client, active_clients

# Of a client ``c``: whether it may be written.
IS_ADOPTED = (
    "EXISTS (SELECT FROM reconciler.adoption a WHERE a.client_id = c.id AND a.state = 'adopted')"
)
# Whether one sync of a client may be written.
CONSENT = (
    "SELECT state = 'adopted' AND coalesce(:sync = ANY(syncs), true) AS given "
    "FROM reconciler.adoption WHERE client_id = :client_id"
)
_STANDING = (
    "SELECT c.id::text, c.company_name, coalesce(a.state, 'new'), a.changed_at, a.changed_by, "
    "a.syncs "
    "FROM reconciler.clients() c LEFT JOIN reconciler.adoption a ON a.client_id = c.id "
)


def standings(connection: Connection) -> dict[str, Standing]:
    """How every active client stands, by id."""
    rows = connection.execute(text(f"{_STANDING} WHERE c.is_active ORDER BY c.company_name, c.id"))
    return {row[0]: _standing(row) for row in rows}


def why_without(connection: Connection, names: Collection[str]) -> list[str]:
    """Why nothing of their new syncs is written, a sentence for each active client that has some.
    ``names``: the syncs in force.
    """
    stands = standings(connection).values()
    return [why for standing in stands for why in standing.why_without(names)]


def adopted_clients(connection: Connection) -> tuple[list[Client], list[str]]:
    """The active clients that may be written, and of each other one why not. Raises as
    ``clients.active_clients``.
    """
    known = standings(connection)
    clients = active_clients(connection)
    reasons = {c.id: known[c.id].why_not for c in clients if c.id in known}
    return (
        [client for client in clients if not reasons.get(client.id)],
        [why for why in reasons.values() if why],
    )


def standing(connection: Connection, client_id: str) -> Standing:
    """How a client stands; one that there is not is new."""
    row = connection.execute(text(f"{_STANDING} WHERE c.id = :id"), {"id": client_id}).first()
    return _standing(row) if row else Standing(client_id, f"Client {client_id}")


def require(connection: Connection, client_id: str, sync: str) -> None:
    """Raise core.adoption.NotAdopted unless this sync of the client may be written."""
    given = connection.execute(text(CONSENT), {"client_id": client_id, "sync": sync}).scalar()
    if not given:
        standing(connection, client_id).require(sync)


def adopt(
    connection: Connection,
    client_id: str,
    by: str,
    rehearsal_id: int | None = None,
    syncs: Collection[str] | None = None,
) -> None:
    """Let a client be written from now on. ``rehearsal_id``: what its person was shown. ``syncs``:
    what it was of, beside what was adopted before; None: every one that it has or gets.
    """
    connection.execute(
        text(
            "INSERT INTO reconciler.adoption AS a (client_id, state, changed_by, rehearsal_id, "
            "syncs) VALUES (:id, 'adopted', :by, :rehearsal_id, :syncs) "
            "ON CONFLICT (client_id) DO UPDATE SET "
            "state = 'adopted', changed_by = excluded.changed_by, "
            "changed_at = clock_timestamp(), rehearsal_id = excluded.rehearsal_id, "
            "syncs = CASE WHEN excluded.syncs IS NOT NULL THEN a.syncs || excluded.syncs END"
        ),
        {
            "id": client_id,
            "by": by,
            "rehearsal_id": rehearsal_id,
            "syncs": None if syncs is None else list(syncs),
        },
    )


def pause(connection: Connection, client_id: str, by: str) -> bool:
    """Have nothing of a client written until it is resumed; waits for a transaction that writes.

    Returns whether that is new. Raises ConfigurationError of a client that was never adopted.
    """
    return _change(connection, client_id, by, State.ADOPTED, State.PAUSED)


def resume(connection: Connection, client_id: str, by: str) -> bool:
    """Let a paused client be written again. Returns and raises as ``pause``."""
    return _change(connection, client_id, by, State.PAUSED, State.ADOPTED)


def _change(connection: Connection, client_id: str, by: str, before: State, now: State) -> bool:
    found = standing(connection, client_id)
    if found.state is State.NEW:
        raise ConfigurationError(found.why_not or "")
    # FOR UPDATE waits for those who hold the row (``require``), which a plain UPDATE does not.
    return (
        connection.execute(
            text(
                "UPDATE reconciler.adoption SET state = :now, "
                "changed_by = :by, changed_at = clock_timestamp() "
                "WHERE client_id = (SELECT client_id FROM reconciler.adoption "
                "WHERE client_id = :id AND state = :before FOR UPDATE)"
            ),
            {"id": client_id, "by": by, "before": before, "now": now},
        ).rowcount
        > 0
    )


def _standing(row: Iterable[object]) -> Standing:
    client_id, name, state, since, by, syncs = row
    adopted = None if syncs is None else frozenset(syncs)  # type: ignore[call-overload]
    return Standing(client_id, name, State(str(state)), since, by, adopted)  # type: ignore[arg-type]
