"""Errors as RFC 9457 problem documents, everywhere: ours, the framework's and the database's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg.errors import UndefinedTable
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.values import printable
from reconciler_dagster.portal.headers import SECURITY_HEADERS
from reconciler_dagster.redaction import redacted_values
from reconciler_dagster.syncs.reading import DefinitionError

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: "The request cannot be read",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "In conflict with the present state",
    413: "Too large",
    421: "Misdirected request",
    422: "Not valid",
    429: "Too many requests",
    431: "Header too large",
    500: "Something went wrong here",
    503: "Not available now",
}


# What the portal's own pages call them.
_CODES = {
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    429: "RATE_LIMITED",
    503: "DATABASE_ERROR",
}

# Where the framework gives no reason.
_REASONS = {
    403: "This is not allowed here.",
    404: "There is nothing at this address.",
    405: "This cannot be done at this address; the header Allow says what can.",
    413: "What was sent is too large.",
}


class Problem(Exception):
    """An answer that is an error. Whatever is passed by name becomes a member of the document."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.document: dict[str, Any] = {
            "type": kind if kind == "about:blank" else f"urn:reconciler:problem:{kind}",
            "title": TITLES.get(status, "Error"),
            "status": status,
            "detail": detail,
            "error": detail,
            "code": _CODES.get(status, "VALIDATION_ERROR" if status < 500 else "INTERNAL_ERROR"),
            **members,
        }

    def response(self) -> JSONResponse:
        """The document as an HTTP answer."""
        document = redacted_values(self.document)
        return JSONResponse(document, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def not_found(what: str = "lead") -> Problem:
    """There is no such thing, or it is another client's: the two must not be told apart."""
    return Problem(404, f"There is no such {what}.")


def from_exception(error: Exception, request: Request) -> Problem:
    """The problem that an exception stands for; its own text is shown only where it is ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        # Never the input itself: it may be large, or not even encodable.
        errors = [
            {"pointer": _pointer(item["loc"]), "detail": item["msg"]} for item in error.errors()
        ]
        first = error.errors()[0] if errors else {"loc": ("body",), "msg": "not valid"}
        field = str(first["loc"][-1])
        return Problem(
            422,
            "The request is not valid; see errors.",
            kind="invalid",
            errors=errors,
            error=printable(f"{field}: {first['msg']}"),
            field=printable(field),
        )
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(request)))
        return Problem(error.status_code, _reason(error), headers=headers)
    if isinstance(error, DefinitionError):
        return Problem(
            503,
            "The sync definitions of this portal cannot be used. Its operator sees why with "
            "`reconciler map show`.",
        )
    if isinstance(error, ProgrammingError) and isinstance(error.orig, UndefinedTable):
        return Problem(
            503,
            "This portal's database has no table for this. Its operator sees which with "
            "`reconciler doctor`.",
        )
    if isinstance(error, ConfigurationError | OperationalError | PoolTimeout):
        return Problem(
            503,
            "The database cannot be reached or is too busy; try again in a moment.",
            headers={"Retry-After": "5"},
        )
    return Problem(
        500,
        "The error was logged. Try again; if it stays, tell the operator of this portal.",
        headers=SECURITY_HEADERS,
    )


def _reason(error: HTTPException) -> str:
    """What the framework says; where that is no more than the status, what a person may do."""
    own = error.detail if isinstance(error.detail, str) else ""
    bare = not own or own == HTTPStatus(error.status_code).phrase
    return _REASONS.get(error.status_code, own) if bare else own


def _pointer(location: tuple[int | str, ...]) -> str:
    return "/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _methods(request: Request) -> set[str]:
    """Every method that some route of this path takes."""
    methods: set[str] = set()
    for route in (*request.app.routes, *request.app.state.routes):
        match, _ = route.matches(dict(request.scope))
        if match is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return methods


Answer = Callable[[Request, Exception], Response]


def answers(page: Callable[[Request, Problem], Response | None]) -> Answer:
    """What answers an exception: a problem document, or the page that stands for it."""

    def answer(request: Request, error: Exception) -> Response:
        problem = from_exception(error, request)
        return page(request, problem) or problem.response()

    return answer


def install(app: FastAPI, answer: Answer) -> None:
    """Answer every exception of the application."""

    for kind in (
        Problem,
        RequestValidationError,
        HTTPException,
        ConfigurationError,
        OperationalError,
        ProgrammingError,
        PoolTimeout,
        Exception,
    ):
        app.add_exception_handler(kind, answer)
