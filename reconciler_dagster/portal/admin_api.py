"""The HTTP API of the sync: ``/api/admin/sync``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from reconciler_dagster.portal import plain, queries, sync_requests
from reconciler_dagster.portal.models import DeltaSync, RequestId, SyncRequest, SyncStatus
from reconciler_dagster.portal.openapi import errors
from reconciler_dagster.portal.problems import Problem
from reconciler_dagster.portal.state import SignedIn, ThePortal
from reconciler_dagster.postgres.report import drift_report

router = APIRouter(prefix="/api/admin/sync", tags=["Sync"])


@router.post("/delta", status_code=202, responses=errors(400, 401, 403, 404, 409))
def start_delta(
    portal: ThePortal, user: SignedIn, response: Response, sync: DeltaSync | None = None
) -> SyncRequest:
    """Ask for a delta sync of a client; who asks again while it waits joins the same request."""
    user.require_admin()
    with portal.transaction() as connection:
        clients = queries.clients(connection, user)
        wanted = (sync.client_id if sync else None) or user.client_id
        if wanted is None:
            if len(clients) != 1:
                raise Problem(409, "There are several clients: say which in client_id.")
            wanted = clients[0].id
        queries.require_client(clients, wanted)
        request_id = sync_requests.put(connection, wanted, user.email)
        found = sync_requests.get(connection, user, request_id, portal.settings.dagster_ui_url)
    response.headers["Location"] = f"/api/admin/sync/delta/{request_id}"
    return found


@router.get("/delta/{request_id}", responses=errors(401, 403, 404))
def get_delta(
    request_id: Annotated[RequestId, Path()], portal: ThePortal, user: SignedIn
) -> SyncRequest:
    """How far a requested sync is: pending, started, succeeded or failed."""
    user.require_admin()
    with portal.transaction() as connection:
        return sync_requests.get(connection, user, request_id, portal.settings.dagster_ui_url)


@router.get("/status", responses=errors(401, 403, 404))
def get_status(portal: ThePortal, user: SignedIn, client_id: UUID | None = None) -> SyncStatus:
    """The drift report: how far Airtable, Postgres and the baseline agree, client by client."""
    user.require_admin()
    with portal.transaction() as connection:
        clients = queries.clients(connection, user)
        if client_id is not None:
            clients = [queries.require_client(clients, client_id)]
        return SyncStatus(
            clients=[
                plain.report(
                    user,
                    drift_report(connection, portal.pair(each.id, each.airtable_base_id)),
                )
                for each in clients
            ]
        )
