"""The OpenAPI document: every error an operation can answer with, as a problem document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from reconciler_dagster.portal.problems import MEDIA_TYPE

_DESCRIPTION = """
What changes leads, and what syncs them with Airtable. Every error is a problem document
(RFC 9457). A user sees the leads of the own client alone; those of others are 404.
"""
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. Some kinds have further members.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string", "description": "One sentence, for the portal's pages."},
        "code": {"type": "string", "description": "As the portal's pages call it."},
        "field": {"type": "string", "description": "Of 422: the first field that is not valid."},
        "errors": {
            "type": "array",
            "description": "Of 422: what is not valid, and where.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "holder": {"type": "string", "description": "Of 409: who has claimed the lead."},
    },
}
_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_MEANINGS = {
    400: "The Host header cannot be one, or the body is not even text",
    401: "No token, or one that is forged, expired or out of date",
    403: "The role does not allow it",
    404: "There is no such thing, or it is another client's",
    408: "The body did not arrive in time",
    409: "The present state forbids it; the detail says why",
    413: "The body is too large",
    421: "A host name that is not served here",
    422: "The request is not valid, or its Idempotency-Key came with another request",
    429: "Too many requests; see Retry-After",
    431: "The header is too large",
    503: "The database or the token keys cannot be reached now",
}
_EVERYWHERE = (400, 408, 413, 421, 422, 429, 431, 503)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an operation that can also fail with these."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *_EVERYWHERE}):
        answers[status] = {
            "description": _MEANINGS.get(status, HTTPStatus(status).phrase),
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
    return answers


router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The OpenAPI document as a page that also sends requests; all its parts are served here."""
    templates = request.app.state.templates
    page: HTMLResponse = templates.TemplateResponse(request, "docs.html")
    return page


def install(app: FastAPI) -> None:
    """Give the document its Problem schema, and the application the page that shows it."""
    make = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = _PROBLEM
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]
    app.description = _DESCRIPTION.strip()
