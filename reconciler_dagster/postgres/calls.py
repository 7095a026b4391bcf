"""The calls of this month, by workspace, from the log that every call is counted in."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.month import USED_UP, Month, month_began, month_turns, workspaces
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.runs import DRY

# What is to be expected is judged by so many days; a young log by no less than one.
_LOOKED_BACK = timedelta(days=7)
_AT_LEAST = timedelta(days=1)


def months(connection: Connection, settings: Settings, now: datetime) -> list[Month]:
    """The month of every workspace that an active client has a base in."""
    clients = active_clients(connection)
    refused = _refused(connection, now)
    log = _logged(connection, now)
    found = []
    bases = [client.base_id for client in clients]
    for name, mine in workspaces(settings.workspaces, bases).items():
        spent: Counter[str] = Counter()
        late: Counter[str] = Counter()
        daily: Counter[int] = Counter()
        oldest = now
        for row in (row for base in mine for row in log[base]):
            if row.this_month:
                spent[row.purpose] += row.this_month
                daily[row.day.day] += row.this_month
            if row.late:
                late[row.purpose] += row.late
                oldest = min(oldest, row.first)
        hours = max(now - oldest, _AT_LEAST) / timedelta(hours=1)
        found.append(
            Month(
                name,
                mine,
                settings.monthly_calls,
                spent.total(),
                dict(spent),
                {purpose: calls / hours for purpose, calls in late.items()},
                dict(daily),
                (month_turns(now) - now) / timedelta(hours=1),
                _is_paused(clients, mine, refused),
            )
        )
    return found


def _logged(connection: Connection, now: datetime) -> dict[str, list[Row[Any]]]:
    """By base: purpose, day, calls of this month and of late, and the first hour of the latter."""
    rows = connection.execute(
        text(
            "SELECT base_id, purpose, date_trunc('day', hour) AS day, "
            "coalesce(sum(calls) FILTER (WHERE hour >= :month), 0) AS this_month, "
            "coalesce(sum(calls) FILTER (WHERE hour >= :back), 0) AS late, "
            "min(hour) FILTER (WHERE hour >= :back) AS first FROM reconciler.call_log "
            "WHERE hour >= least(CAST(:month AS timestamptz), CAST(:back AS timestamptz)) "
            "GROUP BY 1, 2, 3"
        ),
        {"month": month_began(now), "back": now - _LOOKED_BACK},
    )
    by_base = defaultdict(list)
    for row in rows:
        by_base[row.base_id].append(row)
    return by_base


def month_of_client(connection: Connection, settings: Settings, base_id: str) -> Month | None:
    """The month of the workspace that a base is in; None where no client has it."""
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    found = (one for one in months(connection, settings, now) if base_id in one.bases)
    return next(found, None)


def _refused(connection: Connection, now: datetime) -> dict[str, tuple[datetime, bool]]:
    """Of each base: when its last run of this month ended that says whether calls are left, and
    whether it was refused because they are used up.
    """
    rows = connection.execute(
        text(
            "SELECT DISTINCT ON (s.client_id) s.client_id::text, s.finished_at, "  # noqa: S608
            "s.state = 'failed' AS refused FROM reconciler.run_summary s "
            f"WHERE s.started_at >= :month AND NOT {DRY} "
            "AND (s.state = 'succeeded' OR s.state = 'failed' AND s.message LIKE :used_up) "
            "ORDER BY s.client_id, s.started_at DESC"
        ),
        {"month": month_began(now), "used_up": f"{USED_UP}%"},
    )
    return {row.client_id: (row.finished_at, row.refused) for row in rows}


def _is_paused(
    clients: list[Client], bases: tuple[str, ...], refused: dict[str, tuple[datetime, bool]]
) -> bool:
    """Whether the last that any of its clients heard of Airtable was that no call is left."""
    heard = [
        refused[client.id] for client in clients if client.base_id in bases and client.id in refused
    ]
    return bool(heard) and max(heard)[1]
