"""Which clients a schedule's tick leaves out, and how much the audit may spend: so that the month's
calls last.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.month import is_turn
from reconciler_dagster.postgres.calls import month_of_client, months
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.runs import DRY

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
    rows = connection.execute(
        text(
            "SELECT DISTINCT ON (client_id) client_id::text, state = 'succeeded' "  # noqa: S608
            "AND coalesce((counts -> 'pulled')::int, 0) = 0 "
            "AND coalesce((counts -> 'local_writes')::int, 0) = 0 "
            "AND coalesce((counts -> 'remote_writes')::int, 0) = 0 "
            "AND NOT EXISTS (SELECT FROM reconciler.unsettled u WHERE u.client_id = s.client_id) "
            "AS quiet FROM reconciler.run_summary s "
            f"WHERE purpose IN ('delta', 'manual') AND state <> 'started' AND NOT {DRY} "
            "ORDER BY client_id, started_at DESC"
        )
    )
    return {row.client_id for row in rows if row.quiet}
