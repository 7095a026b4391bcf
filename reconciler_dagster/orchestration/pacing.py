"""Which clients a schedule's tick leaves out, and how much the audit may spend: so that the month's
calls last.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.core.month import is_turn
from reconciler_dagster.postgres.calls import month_of_client, months
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.outcomes import last_deltas
from reconciler_dagster.postgres.rest import with_edits

_QUARTER_SECONDS = 900


def due(
    connection: Connection, settings: Settings, clients: list[Client], tick: datetime
) -> list[Client]:
    """The clients whose delta a tick is to start. Left out are those of a workspace that has no
    call left, and, while calls are short, some quarters of an hour of those who were quiet.
    """
    stretches: dict[str, int] = {}
    for month in months(connection, settings, tick, counted=settings.monthly_calls is not None):
        stretches |= dict.fromkeys(month.bases, 0 if month.paused else month.stretch)
    if all(stretches.get(client.base_id, 1) == 1 for client in clients):
        return clients
    quiet = _quiet(connection)
    quarter = int(tick.timestamp()) // _QUARTER_SECONDS

    def is_due(place: int, client: Client) -> bool:
        stretch = stretches.get(client.base_id, 1)
        if stretch == 0:
            return False
        return client.id not in quiet or is_turn(place, quarter, stretch)

    return [client for place, client in enumerate(clients) if is_due(place, client)]


def audit_settings(portal: Engine, settings: Settings, base_id: str) -> Settings:
    """The settings of an audit, with as many calls an hour as the month has for it."""
    with portal.connect() as connection:
        month = month_of_client(connection, settings, base_id)
    if month is None:
        return settings
    calls = month.audit_calls(settings.audit_calls_per_hour)
    return settings.model_copy(update={"audit_calls_per_hour": calls})


def _quiet(connection: Connection) -> set[str]:
    """Clients whose last delta ended well, read nothing new and wrote nothing, and for whom
    nothing waits.
    """
    did = ("pulled", "local_writes", "remote_writes")
    last = last_deltas(connection)
    idle = {id_ for id_, run in last.items() if not any(run.counts.get(one) for one in did)}
    return idle - with_edits(connection)
