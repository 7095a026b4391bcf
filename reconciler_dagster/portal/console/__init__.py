"""The sync console: pages made on the server, at ``/console``, for people in a browser."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from jinja2 import StrictUndefined

from reconciler_dagster.portal.console import adoption, forms, pages, session, tables
from reconciler_dagster.portal.console.display import FILTERS
from reconciler_dagster.portal.problems import Problem

PATH = "/console"
ROUTERS = (session.router, pages.router, forms.router, tables.router, adoption.router)


def install(app: FastAPI) -> None:
    """Add what the console's pages are made with, and the way to them."""
    templates = Jinja2Templates(directory=Path(__file__).parent.parent / "templates")
    templates.env.undefined = StrictUndefined
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    templates.env.filters.update(FILTERS)
    app.state.templates = templates

    @app.get("/", include_in_schema=False)
    def start() -> RedirectResponse:
        return RedirectResponse(PATH, 303)


def problem_page(request: Request, problem: Problem) -> Response | None:
    """A problem as a page, where a person asked; the way to the sign-in where it is what lacks."""
    path = request.scope["path"]
    if path != PATH and not path.startswith(f"{PATH}/"):
        return None
    if problem.status == 401:
        return session.to_sign_in(request, problem)
    page: Response = request.app.state.templates.TemplateResponse(
        request, "problem.html", {"problem": problem}, problem.status, problem.headers
    )
    return page
