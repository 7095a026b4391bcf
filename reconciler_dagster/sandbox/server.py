"""The whole sandbox as one ASGI application, and uvicorn set up to serve it."""

from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reconciler_dagster.sandbox.api.server import PREFIX, AirtableApi
from reconciler_dagster.sandbox.clock import http_date
from reconciler_dagster.sandbox.control.api import control_router, refusal_text
from reconciler_dagster.sandbox.errors import Refusal
from reconciler_dagster.sandbox.model.transaction import MissingRecord
from reconciler_dagster.sandbox.world import World


def build_app(world: World) -> ASGIApp:
    """Return the application: `/v0` is Airtable, the rest is the sandbox's own."""
    airtable = AirtableApi(world)
    own = FastAPI(
        title="Airtable sandbox",
        docs_url="/sandbox/api/docs",
        openapi_url="/sandbox/api/openapi.json",
        redoc_url=None,
    )
    own.include_router(control_router(world, airtable.listings))

    @own.exception_handler(Refusal)
    @own.exception_handler(MissingRecord)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, (Refusal, MissingRecord))
        status = error.status if isinstance(error, Refusal) else 404
        return JSONResponse({"detail": refusal_text(error)}, status)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = http_date(world.clock.now()).encode()
                message["headers"] = [*message.get("headers", []), (b"date", date)]
            await send(message)

        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await airtable(scope, receive, dated)
        elif scope["type"] == "http":
            await own(scope, receive, dated)
        else:
            await own(scope, receive, send)

    return app


class _Cuttable(HttpToolsProtocol):
    """Gives the application a way to drop the connection without an answer."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "cut": transport.abort}


def build_server(world: World, host: str, port: int, log_level: str = "warning") -> uvicorn.Server:
    """Return a uvicorn server for the world; `run` or `serve` starts it."""
    return uvicorn.Server(
        uvicorn.Config(
            build_app(world),
            host=host,
            port=port,
            http=_Cuttable,
            log_level=log_level,
            access_log=False,
            # The Date header is the sandbox's own time.
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
    )
