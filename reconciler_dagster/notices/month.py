"""What is to be told of the month's calls."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler_dagster.core.month import LOW, TEAM_PLAN, Month
from reconciler_dagster.notices.decide import Cause
from reconciler_dagster.postgres.clients import Client


def month_causes(months: Iterable[Month], clients: Iterable[Client], now: datetime) -> list[Cause]:
    """One cause a workspace; of one whose calls are gone, one a client. Pure."""
    found: list[Cause] = []
    listed = list(clients)
    for month in months:
        if month.paused:
            found += [
                Cause("month_gone", "", client.name, now)
                for client in listed
                if client.base_id in month.bases
            ]
            continue
        limit = month.limit or TEAM_PLAN
        assumed = "" if month.limit else ", if it is the Team plan's (set RECONCILER_MONTHLY_CALLS)"
        numbers = (
            f"workspace {month.workspace}: {month.spent:,} calls are spent this month, "
            f"{month.forecast:,} are expected by its end, {limit:,} are allowed{assumed}"
        )
        if month.spent >= LOW * limit:
            found.append(Cause("month_low", month.workspace, "", now, numbers))
        elif month.forecast > limit:
            found.append(Cause("month_short", month.workspace, "", now, numbers))
    return found
