"""What is in quarantine, as people are shown it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.core.words import NO_OPTION

# More cells than this of one field that are refused for one reason are shown as one.
TOLD_SINGLY = 5


@dataclass(frozen=True)
class Held:
    """A cell in quarantine, as a person wants to see it."""

    client_id: str
    client: str
    record_id: str
    field: str
    direction: str
    reason: str
    attempts: int
    first_seen_at: datetime
    next_attempt_at: datetime


def held(connection: Connection, client_id: str | None = None) -> list[Held]:
    """What is in quarantine, of one client or of all active ones."""
    rows = connection.execute(
        text(
            "SELECT q.client_id::text, c.company_name, q.record_id, q.field, q.direction, "
            "q.reason, q.attempts, q.first_seen_at, q.next_attempt_at "
            "FROM reconciler.quarantine q JOIN reconciler.clients() c ON c.id = q.client_id "
            "WHERE c.is_active AND (CAST(:client_id AS uuid) IS NULL OR q.client_id = :client_id) "
            "ORDER BY c.company_name, q.record_id, q.field, q.direction"
        ),
        {"client_id": client_id},
    )
    return [Held(*row) for row in rows]


@dataclass(frozen=True)
class Waiting:
    """Leads whose value of a field is no option of Airtable's."""

    field: str
    value: Value
    leads: int


def waiting_for_options(connection: Connection, pair: Pair) -> list[Waiting]:
    """What waits for an option, the most frequent first: one for each value, however many leads
    hold it.
    """
    rows = connection.execute(
        text(
            "SELECT field, value, count(*) FROM reconciler.quarantine "
            "WHERE client_id = :client_id AND sync = :sync AND direction = 'to_airtable' "
            "AND reason LIKE '%' || :no_option || '%' "
            "GROUP BY field, value ORDER BY count(*) DESC, field, value"
        ),
        {**pair.keys, "no_option": NO_OPTION},
    )
    return [Waiting(*row) for row in rows]
