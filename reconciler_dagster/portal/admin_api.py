"""The HTTP API of the sync: ``/api/admin/sync``."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response
from sqlalchemy import Connection

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.portal import plain, queries, sync_requests, ui_answers
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.models import AskedSync, DeltaSync, RequestId, SyncStatus
from reconciler_dagster.portal.openapi import errors
from reconciler_dagster.portal.problems import Problem
from reconciler_dagster.portal.state import Portal, SignedIn, ThePortal
from reconciler_dagster.postgres.report import drift_report, of_client

router = APIRouter(prefix="/api/admin/sync", tags=["Sync"])


@router.post("/delta", status_code=202, responses=errors(400, 401, 403, 404, 409))
def start_delta(
    portal: ThePortal, user: SignedIn, response: Response, sync: DeltaSync | None = None
) -> AskedSync:
    """Ask for a delta sync of a client; who asks again while it waits joins the same request."""
    user.require_admin()
    asked = sync or DeltaSync()
    with portal.transaction() as connection:
        wanted = _wanted(asked, user, queries.clients(connection, user))
        first, *others = [sync_requests.put(connection, each, user.email) for each in wanted]
        found = sync_requests.get(connection, user, first, portal.settings.dagster_ui_url)
    response.headers["Location"] = f"/api/admin/sync/delta/{first}"
    several = f"A sync of {len(wanted)} clients has been asked for; it starts within seconds."
    return ui_answers.sync(found, asked.minutes, several if others else None)


def _wanted(asked: DeltaSync, user: User, clients: list[queries.Client]) -> list[UUID]:
    """Whose sync is asked for; raises a 409 problem where nobody can be meant."""
    own = asked.client_id or user.client_id
    if own is not None:
        return [queries.require_client(clients, own).id]
    if not clients:
        raise Problem(409, "There is no active client.")
    if len(clients) > 1 and asked.minutes is None:
        raise Problem(409, "There are several clients: say which in client_id.")
    return [client.id for client in clients]


@router.get("/delta/{request_id}", responses=errors(401, 403, 404))
def get_delta(
    request_id: Annotated[RequestId, Path()], portal: ThePortal, user: SignedIn
) -> AskedSync:
    """How far a requested sync is: pending, started, succeeded or failed."""
    user.require_admin()
    with portal.transaction() as connection:
        return ui_answers.sync(
            sync_requests.get(connection, user, request_id, portal.settings.dagster_ui_url)
        )


@router.get("/status", responses=errors(401, 403, 404))
def get_status(portal: ThePortal, user: SignedIn, client_id: UUID | None = None) -> SyncStatus:
    """The drift report: how far Airtable, Postgres and the baseline agree, client by client."""
    user.require_admin()
    with portal.transaction() as connection:
        clients = queries.clients(connection, user)
        if client_id is not None:
            clients = [queries.require_client(clients, client_id)]
        return SyncStatus(clients=[_report(portal, connection, user, each) for each in clients])


def _report(
    portal: Portal, connection: Connection, user: User, client: queries.Client
) -> dict[str, Any]:
    """Of all syncs of a client, in words for this user."""
    maps = [shown.map for shown in portal.shown(client.airtable_base_id).values()]
    pairs = [Pair(str(client.id), own) for own in maps]
    return of_client(
        {pair.sync: plain.report(user, drift_report(connection, pair)) for pair in pairs}
    )
