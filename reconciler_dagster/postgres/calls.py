"""The calls of this month, by workspace, from the log that every call is counted in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.month import USED_UP, Month, month_began, month_turns, workspaces
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.outcomes import last_refusals, last_successes

# What is to be expected is judged by so many days; a young log by no less than one.
_LOOKED_BACK = timedelta(days=7)
_AT_LEAST = timedelta(days=1)


def months(
    connection: Connection, settings: Settings, now: datetime, *, counted: bool = True
) -> list[Month]:
    """The month of every workspace that an active client has a base in. ``counted``: False where
    only matters whether it is paused.
    """
    clients = active_clients(connection)
    heard = _heard(connection, now)
    log = _logged(connection, now) if counted else {}
    bases = [client.base_id for client in clients]
    return [
        _month(
            name,
            mine,
            settings.monthly_calls,
            log,
            now,
            paused=_is_paused(clients, mine, heard),
        )
        for name, mine in workspaces(settings.workspaces, bases).items()
    ]


def _month(
    name: str,
    bases: tuple[str, ...],
    limit: int | None,
    log: Mapping[str, list[Row[Any]]],
    now: datetime,
    *,
    paused: bool,
) -> Month:
    spent: Counter[str] = Counter()
    late: Counter[str] = Counter()
    daily: Counter[int] = Counter()
    oldest = now
    for row in (row for base in bases for row in log.get(base, ())):
        if row.this_month:
            spent[row.purpose] += row.this_month
            daily[row.day.day] += row.this_month
        if row.late:
            late[row.purpose] += row.late
            oldest = min(oldest, row.first)
    hours = max(now - oldest, _AT_LEAST) / timedelta(hours=1)
    return Month(
        name,
        bases,
        limit,
        spent.total(),
        dict(spent),
        {purpose: calls / hours for purpose, calls in late.items()},
        dict(daily),
        (month_turns(now) - now) / timedelta(hours=1),
        paused,
    )


def _logged(
    connection: Connection, now: datetime, base_id: str | None = None
) -> Mapping[str, list[Row[Any]]]:
    """By base: purpose, day, calls of this month and of late, and the first hour of the latter.
    ``base_id``: of one alone.
    """
    rows = connection.execute(
        text(
            "SELECT base_id, purpose, date_trunc('day', hour) AS day, "
            "coalesce(sum(calls) FILTER (WHERE hour >= :month), 0) AS this_month, "
            "coalesce(sum(calls) FILTER (WHERE hour >= :back), 0) AS late, "
            "min(hour) FILTER (WHERE hour >= :back) AS first FROM reconciler.call_log "
            "WHERE hour >= least(CAST(:month AS timestamptz), CAST(:back AS timestamptz)) "
            "AND (CAST(:base_id AS text) IS NULL OR base_id = :base_id) GROUP BY 1, 2, 3"
        ),
        {"month": month_began(now), "back": now - _LOOKED_BACK, "base_id": base_id},
    )
    by_base = defaultdict(list)
    for row in rows:
        by_base[row.base_id].append(row)
    return by_base


def month_of_client(connection: Connection, settings: Settings, base_id: str) -> Month | None:
    """The month of the workspace that a base is in, without numbers where it has no limit; None
    where no client has it.
    """
    counted = settings.monthly_calls is not None
    found = months(connection, settings, _now(connection), counted=counted)
    return next((one for one in found if base_id in one.bases), None)


def month_of_base(connection: Connection, base_id: str) -> Month:
    """The month of a base alone."""
    now = _now(connection)
    return _month("", (base_id,), None, _logged(connection, now, base_id), now, paused=False)


def _now(connection: Connection) -> datetime:
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def _heard(connection: Connection, now: datetime) -> dict[str, list[tuple[datetime, bool]]]:
    """Of each client: when a run of this month was last refused because no call is left, and when
    one last ended well; empty where none was refused.
    """
    refused = last_refusals(connection, month_began(now), f"{USED_UP}%")
    if not refused:
        return {}
    heard = defaultdict[str, list[tuple[datetime, bool]]](list)
    for said, moments in ((True, refused), (False, last_successes(connection))):
        for client_id, moment in moments.items():
            heard[client_id].append((moment, said))
    return heard


def _is_paused(
    clients: list[Client],
    bases: tuple[str, ...],
    heard: Mapping[str, list[tuple[datetime, bool]]],
) -> bool:
    """Whether the last that any of its clients heard of Airtable was that no call is left."""
    of_all = [
        one for client in clients if client.base_id in bases for one in heard.get(client.id, ())
    ]
    return bool(of_all) and max(of_all)[1]
