"""The whole sandbox as one ASGI application, and uvicorn set up to serve it."""

from collections.abc import Collection
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reconciler_dagster.sandbox.api.server import PREFIX, AirtableApi
from reconciler_dagster.sandbox.arrival import arrived
from reconciler_dagster.sandbox.clock import http_date
from reconciler_dagster.sandbox.control.app import control_app
from reconciler_dagster.sandbox.control.guard import Guard
from reconciler_dagster.sandbox.world import World


def build_app(world: World, hosts: Collection[str] = ()) -> ASGIApp:
    """Return the application: `/v0` is Airtable, the rest is the sandbox's own.

    The sandbox's own part answers under the names of loopback and of `hosts` only.
    Every answer carries a `Date` in the sandbox's time, in whole seconds.
    """
    airtable = AirtableApi(world)
    own = Guard(control_app(world, airtable.listings), hosts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = http_date(world.clock.now()).encode()
                message["headers"] = [*message.get("headers", []), (b"date", date)]
            await send(message)

        is_airtable = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (airtable if is_airtable else own)(scope, receive, dated)

    return app


class _Connection(HttpToolsProtocol):
    """Tells the application when a request arrived, and gives it a way to drop the connection
    without an answer.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "cut": transport.abort}

    def data_received(self, data: bytes) -> None:
        self.app_state["arrived"] = arrived(self.transport.get_extra_info("socket"))
        super().data_received(data)


def build_server(
    world: World, host: str, port: int, allowed_hosts: Collection[str] = ()
) -> uvicorn.Server:
    """Return a uvicorn server for the world; `run` starts it.

    The page and the control API are reached under `host` and the `allowed_hosts`, beside loopback.
    """
    return uvicorn.Server(
        uvicorn.Config(
            build_app(world, {host, *allowed_hosts}),
            host=host,
            port=port,
            http=_Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,  # on a slow machine a client pauses longer than the usual 5 s
            lifespan="off",
        )
    )
