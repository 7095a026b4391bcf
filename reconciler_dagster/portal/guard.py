"""What every request passes: host names, bounds of header and body, the rate, and the headers."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler_dagster.portal.connections import header_too_large
from reconciler_dagster.portal.console.session import SESSION
from reconciler_dagster.portal.headers import SECURITY_HEADERS
from reconciler_dagster.portal.problems import Answer, Problem
from reconciler_dagster.portal.rate import RateLimit, is_counted
from reconciler_dagster.portal.settings import PortalSettings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
# Below these a request without a token is none; with one, it is counted by whose token it is.
_SIGNED_IN = ("/api", "/console")
_OPEN = ("/console/sign-in", "/console/sign-out")
# A page comes with several files, and they cost no more than reading them.
_COST_OF_A_FILE = 0.1


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, settings: PortalSettings, rate_limit: RateLimit, answer: Answer
    ) -> None:
        self.app = app
        self.settings = settings
        self.rate_limit = rate_limit
        self.answer = answer
        self.hosts = settings.hosts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body already read, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        out = _Out(self, request, receive, send)
        try:
            self._look_at_header(request)
            if _is_open(request):
                self._count(request)
            body = await self._read(request.headers, receive)
        except ClientDisconnect:
            return  # half a request is none
        except Problem as problem:
            await out.refuse(problem)
            return
        rest = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(rest, None) or await receive()

        await self.app(scope, replay, out.send)

    def _look_at_header(self, request: Request) -> None:
        scope, hosts = request.scope, request.headers.getlist("host")
        lines = scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in lines)
        size += len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        count = len(lines)
        if size > self.settings.header_limit_bytes or count > self.settings.header_limit_count:
            raise Problem(431, header_too_large(self.settings))
        host = hosts[0].lower() if hosts else ""
        # Two names, or one that is none, may mean one thing here and another to a proxy.
        if len(hosts) > 1 or (host and not _HOST.fullmatch(host)):
            raise Problem(400, "The header Host has to be one host name, and a port at most.")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts is not None and name not in self.hosts:
            raise Problem(421, "This host name is not served here.")

    def _count(self, request: Request) -> None:
        is_file = request.scope["path"].startswith("/static/")
        self.rate_limit.take_for_address(request, _COST_OF_A_FILE if is_file else 1)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body, refused as soon as it is too long: no more of it is kept."""
        limit = self.settings.body_limit_bytes
        # Who waits for a word before the body sends none of it: nothing can follow the answer.
        close = {"Connection": "close"} if "expect" in headers else None
        too_long = Problem(413, f"The body may have at most {limit} bytes.", headers=close)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_long
        body, more = bytearray(), True
        seconds = self.settings.body_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise too_long
        except TimeoutError:
            raise Problem(
                408,
                f"The request's body did not arrive within {seconds:g} s.",
                headers={"Connection": "close"},
            ) from None
        return bytes(body)


@dataclass
class _Out:
    """The way back: with the security headers, and only if some bucket has been asked."""

    guard: Guard
    request: Request
    receive: Receive
    forward: Send
    is_refused: bool = False

    async def send(self, message: Message) -> None:
        """Pass a message of the application on."""
        if message["type"] == "http.response.start" and not is_counted(self.request):
            try:
                self.guard._count(self.request)
            except Problem as problem:
                self.is_refused = True
                await self.refuse(problem)
        if not self.is_refused:
            await self._secured(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer in the application's place."""
        response = self.guard.answer(self.request, problem)
        await response(self.request.scope, self.receive, self._secured)

    async def _secured(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self.forward(message)


def _is_open(request: Request) -> bool:
    """Whether anybody may ask for it, or nobody can be behind it: no token came along."""
    path = request.scope["path"]
    if path in _OPEN or not path.startswith(_SIGNED_IN):
        return True
    cookies = request.headers.get("cookie", "")
    return "authorization" not in request.headers and f"{SESSION}=" not in cookies
