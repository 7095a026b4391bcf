"""`/metrics`: what Prometheus reads, from what Postgres knows. Nothing of a lead is in it."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reconciler_dagster.portal.problems import Problem
from reconciler_dagster.portal.state import ThePortal

router = APIRouter(include_in_schema=False)

_bearer = HTTPBearer(auto_error=False)
_HERE = ("127.0.0.1", "::1")
# Where one of these came along, a proxy stands in between, and who asks may be anywhere.
_FORWARDED = ("forwarded", "x-forwarded-for", "via")


@router.get("/metrics")
def metrics(
    request: Request,
    portal: ThePortal,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Response:
    """In Prometheus' text format: to whoever has PORTAL_METRICS_TOKEN; where none is set, to this
    machine alone.
    """
    from reconciler_dagster.metrics.exposition import CONTENT_TYPE, exposition

    token = portal.portal_settings.metrics_token
    if token is not None:
        given = credentials.credentials if credentials else ""
        if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
            raise Problem(
                401,
                "Send PORTAL_METRICS_TOKEN as a bearer.",
                headers={"WWW-Authenticate": "Bearer"},
            )
    elif (
        request.client is None
        or request.client.host not in _HERE
        or any(name in request.headers for name in _FORWARDED)
    ):
        raise Problem(403, "Set PORTAL_METRICS_TOKEN to read metrics from another machine.")
    with portal.transaction() as connection:
        return Response(exposition(connection, portal.settings), media_type=CONTENT_TYPE)
