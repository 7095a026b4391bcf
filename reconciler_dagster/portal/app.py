"""The portal as an ASGI application; ``create_app`` is a factory for any ASGI server."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from reconciler_dagster.config import Settings
from reconciler_dagster.portal import admin_api, api, console, openapi, problems
from reconciler_dagster.portal.guard import Guard
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.portal.state import Portal, ThePortal
from reconciler_dagster.postgres.listener import doorbell

_STATIC = Path(__file__).parent / "static"


def create_app(
    settings: Settings | None = None, portal_settings: PortalSettings | None = None
) -> FastAPI:
    """The HTTP API and the console. Raises ConfigurationError when a setting is missing."""
    portal = Portal.build(settings or Settings.load(), portal_settings or PortalSettings.load())
    app = FastAPI(
        title="Lead portal",
        version=version("reconciler"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.portal = portal
    app.add_middleware(
        Guard,
        body_limit=portal.portal_settings.body_limit_bytes,
        hosts=portal.portal_settings.hosts(),
    )
    routers = (api.router, admin_api.router, openapi.router, *console.ROUTERS)
    for router in routers:
        app.include_router(router)
    # For the Allow header of a 405: the application keeps the included routers to itself.
    app.state.routes = [route for router in routers for route in router.routes]
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    openapi.install(app)
    console.install(app)
    problems.install(app, console.problem_page)

    @app.get("/health", tags=["Health"], responses=openapi.errors())
    def health(portal: ThePortal) -> dict[str, str]:
        """Whether the portal answers and reaches its database; and whether a sync that is asked
        for starts at once: `listening`, or in seconds: `off`, `deaf`, `silent`.
        """
        with portal.transaction() as connection:
            return {"status": "ok", "doorbell": doorbell(connection).word}

    return app
