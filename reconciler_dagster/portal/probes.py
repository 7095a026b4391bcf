"""Probes: whether the process is alive, and whether everything is there that a sync needs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.guard import Unfit
from reconciler_dagster.notices import dagster
from reconciler_dagster.notices.heartbeat import successes
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.portal import openapi
from reconciler_dagster.portal.state import ThePortal
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listener import doorbell
from reconciler_dagster.postgres.migrate import is_current

router = APIRouter(tags=["Health"])

_UNREACHABLE = (ConfigurationError, OperationalError, PoolTimeout)


@router.get("/health", responses=openapi.errors())
def health(portal: ThePortal) -> dict[str, str]:
    """Whether the process answers; and whether a sync that is asked for starts at once:
    `listening`, or in seconds: `off`, `deaf`, `silent`, or `unknown` while the database cannot be
    reached, which starting the portal again would not mend.
    """
    try:
        with portal.transaction() as connection:
            return {"status": "ok", "doorbell": doorbell(connection).word}
    except _UNREACHABLE:
        return {"status": "ok", "doorbell": "unknown"}


class ClientState(BaseModel):
    """When a client's last sync ended well, and whether that is too long ago."""

    client_id: str
    last_success: datetime | None
    late: bool


class Ready(BaseModel):
    """``daemon``: `silent` when Dagster's daemon gives no sign of life, `unseen` while no listener
    looks.
    """

    ready: bool
    database: Literal["ok", "unreachable"]
    migrations: Literal["ok", "missing", "unknown"] = "unknown"
    daemon: Literal["ok", "silent", "unseen", "unknown"] = "unknown"
    clients: list[ClientState] = []


@router.get("/ready", responses={**openapi.errors(), 503: {"model": Ready}})
def ready(portal: ThePortal, response: Response, of: Literal["all", "portal"] = "all") -> Ready:
    """Whether all is there: database, migrations, Dagster's daemon, and a success of each client
    not too long ago. 503 where one is not. `of=portal` judges database and migrations alone: for a
    probe that decides whether the portal gets requests.
    """
    try:
        if not is_current(engine(portal.database_url)):
            found = Ready(ready=False, database="ok", migrations="missing")
        else:
            with portal.transaction() as connection:
                found = _state(connection, of == "portal")
    except _UNREACHABLE:
        found = Ready(ready=False, database="unreachable")
    if not found.ready:
        response.status_code = 503
    return found


def _state(connection: Connection, portal_alone: bool) -> Ready:
    settings = NoticeSettings.load()
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    daemon = dagster.life(dagster.noted(connection), now)
    try:
        of_clients = successes(connection)
    except Unfit:
        return Ready(ready=portal_alone, database="ok", migrations="ok", daemon=daemon)
    clients = [
        ClientState(
            client_id=client,
            last_success=moment,
            late=moment is None or now - moment > settings.success_within(client),
        )
        for client, moment in sorted(of_clients.items())
    ]
    well = daemon == "ok" and not any(client.late for client in clients)
    return Ready(
        ready=well or portal_alone, database="ok", migrations="ok", daemon=daemon, clients=clients
    )
