"""The Airtable Web API as an ASGI application: one request in, one answer out.

Checks come in Airtable's order (Airtable facts §1): shape of the path, token, limits, access,
parameters. Nothing that a client sends leads to a 500; only a fault that was armed does.
"""

import asyncio
import gzip
import logging
import time
import urllib.parse
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.call import Call, parse_query
from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.api.routes import Routes, Target
from reconciler_dagster.sandbox.errors import Refusal
from reconciler_dagster.sandbox.faults import Fault, usual_body
from reconciler_dagster.sandbox.world import World

_log = logging.getLogger(__name__)

PREFIX = "/v0/"
LONGEST_URL = 16_000
COMPRESS_FROM = 1_000


class AirtableApi:
    """Serves everything under `/v0/`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._listings = Listings(world)
        self._routes = Routes(world, self._listings)

    @property
    def listings(self) -> Listings:
        """The listings under way."""
        return self._listings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        # A call that has set out arrives, whether or not its client still waits.
        delays = self._world.latency.draw()
        await _pass_time(delays.way_there)
        # It counts from when it came in, not from when a busy loop got round to it.
        since = time.monotonic() - request.state.arrived - delays.way_there
        arrival = request.state.arrival = self._world.clock.before(since)
        raw_path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        query = scope.get("query_string", b"")
        target = raw_path + ("?" + query.decode("latin-1") if query else "")
        entry: dict[str, Any] = {
            "time": arrival,
            "method": request.method,
            "path": urllib.parse.unquote(raw_path),
            "query": query.decode("latin-1"),
            "status": None,
        }
        self._world.calls.append(entry)
        call: Call | None = None
        fault: Fault | None = None
        early: Refusal | None = None
        try:
            call = Call(request.method, target, _segments(raw_path), parse_query(query), body)
            fault = self._world.faults.strike(call.method, target, self._page_number(call))
        except Refusal as refusal:
            early = refusal
        response = await self._answer(call, early, fault, request)
        await _pass_time(delays.thinking + delays.way_back)
        if response is None:
            request.scope["state"]["cut"]()
            # The server must see the loss before this call returns, or it would answer 500.
            while not await request.is_disconnected():
                await asyncio.sleep(0)
            return
        entry["status"] = response.status_code
        await response(scope, receive, send)

    async def _answer(
        self, call: Call | None, early: Refusal | None, fault: Fault | None, request: Request
    ) -> Response | None:
        """Return the answer, or None where the connection is to be cut."""
        if fault is not None:
            match fault.act:
                case "status":
                    return self._faulty(fault)
                case "cut_before_commit":
                    return None
                case "hang":
                    await self._wait(fault.seconds, request)
                    return None
                case "slow":
                    await self._wait(fault.seconds, request)
                case "kill_iterator" if call is not None:
                    self._listings.kill(_offset(call))
        status, body, headers = self._execute(call, early, request)
        if fault is not None:
            match fault.act:
                case "status_after_commit":
                    return self._faulty(fault)
                case "cut_after_commit":
                    return None
                case "short_listing" if body and isinstance(body.get("records"), list):
                    body = {"records": body["records"][: fault.keep]}
        content = b"" if body is None else orjson.dumps(body)
        if fault is not None and fault.act == "truncate":
            content = content[: len(content) // 2]
        return self._response(status, content, headers, request)

    def _execute(
        self, call: Call | None, early: Refusal | None, request: Request
    ) -> tuple[int, dict[str, Any] | None, dict[str, str]]:
        try:
            if early is not None or call is None:
                raise early or errors.not_found()
            if call.method == "OPTIONS":
                # A browser asks first, without a token, whether it may call.
                return 200, None, {}
            target = self._routes.find(call)
            if len(call.path) > LONGEST_URL:
                raise errors.refusal(
                    self._world.switches.long_url_status, "REQUEST_TOO_LARGE", "URL is too long"
                )
            self._admit(call, target, request)
            return 200, target.run(), {}
        except Refusal as refusal:
            return refusal.status, refusal.body, refusal.headers
        except Exception:
            # A mistake of the sandbox's own: its trace goes to the log, never to the client.
            _log.exception("%s %s", request.method, request.url.path)
            return 500, usual_body(500), {}

    def _admit(self, call: Call, target: Target, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        scopes = self._world.tokens.get(token.strip())
        if scheme.lower() != "bearer" or scopes is None:
            raise errors.refusal(401, "AUTHENTICATION_REQUIRED", "Authentication required")
        call.token = token.strip()
        self._world.limits.check(call.token, target.base_id, target.meta, request.state.arrival)
        if target.scope is not None and target.scope not in scopes:
            raise errors.not_permitted()

    def _page_number(self, call: Call) -> int | None:
        offset = _offset(call)
        return self._listings.page_number(offset) if offset else None

    def _faulty(self, fault: Fault) -> Response:
        body = usual_body(fault.status) if fault.body is None else fault.body
        content = body.encode() if isinstance(body, str) else orjson.dumps(body)
        return Response(content, fault.status, fault.headers, "application/json; charset=utf-8")

    def _response(
        self, status: int, content: bytes, headers: dict[str, str], request: Request
    ) -> Response:
        headers = {
            **headers,
            "access-control-allow-headers": "authorization,content-type,x-airtable-user-agent",
            "access-control-allow-methods": "DELETE,GET,OPTIONS,PATCH,POST,PUT",
            "access-control-allow-origin": "*",
            "vary": "Accept-Encoding",
            "x-content-type-options": "nosniff",
            "airtable-uncompressed-content-length": str(len(content)),
        }
        if len(content) >= COMPRESS_FROM and "gzip" in request.headers.get("accept-encoding", ""):
            content = gzip.compress(content, 1)
            headers["content-encoding"] = "gzip"
        return Response(content, status, headers, "application/json; charset=utf-8")

    async def _wait(self, seconds: float, request: Request) -> None:
        """Wait in real time, but no longer than the client does."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end and not await request.is_disconnected():
            await asyncio.sleep(min(0.05, max(end - loop.time(), 0)))


async def _pass_time(seconds: float) -> None:
    """Let real time pass, while other calls go on."""
    if seconds:
        await asyncio.sleep(seconds)


def _segments(raw_path: str) -> list[str]:
    """Split the path before decoding it, since a table's name may hold a slash."""
    if not raw_path.startswith(PREFIX):
        raise errors.not_found()
    parts = raw_path[len(PREFIX) :].split("/")
    if parts and parts[-1] == "":
        parts.pop()
    return [urllib.parse.unquote(part) for part in parts]


def _offset(call: Call) -> str | None:
    """Return the offset of a listing, wherever it stands."""
    for key, value in call.query:
        if key == "offset" and value:
            return value
    if call.method == "POST" and call.segments[-1:] == ["listRecords"]:
        try:
            offset = call.json().get("offset")
        except Refusal:
            return None
        return offset if isinstance(offset, str) and offset else None
    return None
