"""How the control API refuses: always `{"detail": "a sentence"}`, and as its document says."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from reconciler_dagster.sandbox.errors import Refusal
from reconciler_dagster.sandbox.model.transaction import MissingRecord

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class Problem(BaseModel):
    """What is wrong, in a sentence."""

    detail: str


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no text."},
    403: {"model": Problem, "description": "From another site, or under a name that is not ours."},
    404: {"model": Problem, "description": "No such base, table, field or record."},
    422: {"model": Problem, "description": "Something that is asked for cannot be done."},
}
"""The refusals that every operation can give."""


def install(app: FastAPI) -> None:
    """Give an application the one form of refusals."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        status = error.status if error.status in DOCUMENTED else 422
        return JSONResponse({"detail": _reason(error)}, status)

    @app.exception_handler(MissingRecord)
    async def missing(_: Request, error: MissingRecord) -> JSONResponse:
        return JSONResponse({"detail": f"No record {error.record_id}."}, 404)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()
        ]
        return JSONResponse({"detail": "; ".join(wrong)}, 422)

    @app.exception_handler(405)
    async def method_not_allowed(request: Request, error: HTTPException) -> JSONResponse:
        # The framework names only the methods of the first route that has the path.
        allowed = [
            method
            for method in METHODS
            if any(
                route.matches({**request.scope, "method": method})[0] is Match.FULL
                for route in app.routes
                if not isinstance(route, Mount)
            )
        ]
        headers = {"Allow": ", ".join(allowed)} if allowed else error.headers
        return JSONResponse({"detail": f"{request.method} is not possible here."}, 405, headers)


def _reason(error: Refusal) -> str:
    detail = error.body.get("error")
    return str(detail.get("message", detail["type"])) if isinstance(detail, dict) else str(detail)
