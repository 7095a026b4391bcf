"""The sandbox's own application: the control API, its description, and the grid page."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.control import refusals
from reconciler_dagster.sandbox.control.machine import machine_router
from reconciler_dagster.sandbox.control.owner import owner_router
from reconciler_dagster.sandbox.control.people import people_router
from reconciler_dagster.sandbox.world import World
from reconciler_dagster.vendor import AG_GRID, SWAGGER_UI

PAGE = Path(__file__).with_name("page")
PREFIX = "/sandbox/api"
SWAGGER = "/sandbox/page/vendor/swagger-ui"


def control_app(world: World, listings: Listings) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="Airtable sandbox: control API",
        description="What Airtable does not have: time, faults, switches, and the people at the "
        "web client. No token is needed.",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        responses=refusals.DOCUMENTED,
    )
    app.include_router(machine_router(world, listings), prefix=PREFIX)
    app.include_router(people_router(world), prefix=PREFIX)
    app.include_router(owner_router(world), prefix=PREFIX)
    app.mount("/sandbox/page/vendor/ag-grid", StaticFiles(directory=AG_GRID), name="ag-grid")
    app.mount(SWAGGER, StaticFiles(directory=SWAGGER_UI), name="swagger-ui")
    app.mount("/sandbox/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get(f"{PREFIX}/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        # From this server alone: the usual page would fetch its scripts from a CDN.
        return get_swagger_ui_html(
            openapi_url=f"{PREFIX}/openapi.json",
            title="Airtable sandbox",
            swagger_js_url=f"{SWAGGER}/swagger-ui-bundle.js",
            swagger_css_url=f"{SWAGGER}/swagger-ui.css",
            swagger_favicon_url="data:,",
        )

    refusals.install(app)
    return app
