"""The portal as an ASGI application; ``create_app`` is a factory for any ASGI server."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from reconciler_dagster.config import Settings
from reconciler_dagster.outlets import guard
from reconciler_dagster.portal import admin_api, api, console, metrics, openapi, probes, problems
from reconciler_dagster.portal.connections import bound
from reconciler_dagster.portal.guard import Guard
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.portal.state import Portal
from reconciler_dagster.vendor import HTMX, SWAGGER_UI

_STATIC = Path(__file__).parent / "static"


class PortalApp(FastAPI):
    """The application; the server that runs it gets bounds for its connections."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or take part in the server's start and end."""
        # Here and no deeper: the framework puts a `receive` of its own in the server's place.
        if scope["type"] == "lifespan":
            bound(receive, self.state.portal.portal_settings)
        await super().__call__(scope, receive, send)


def create_app(
    settings: Settings | None = None, portal_settings: PortalSettings | None = None
) -> FastAPI:
    """The HTTP API and the console. Raises ConfigurationError when a setting is missing."""
    guard()
    portal = Portal.build(settings or Settings.load(), portal_settings or PortalSettings.load())
    app = PortalApp(
        title="Lead portal",
        version=version("reconciler"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.portal = portal
    answer = problems.answers(console.problem_page)
    app.add_middleware(
        Guard, settings=portal.portal_settings, rate_limit=portal.rate_limit, answer=answer
    )
    routers = (
        *(api.router, admin_api.router, openapi.router),
        *(probes.router, metrics.router, *console.ROUTERS),
    )
    for router in routers:
        app.include_router(router)
    # For the Allow header of a 405: the application keeps the included routers to itself.
    app.state.routes = [route for router in routers for route in router.routes]
    app.mount("/static/vendor/htmx", StaticFiles(directory=HTMX), name="htmx")
    app.mount("/static/vendor", StaticFiles(directory=SWAGGER_UI), name="swagger-ui")
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    openapi.install(app)
    console.install(app)
    problems.install(app, answer)

    return app
