"""What bounds a connection before there is a request: uvicorn itself bounds none of it.

A header may be as long and as slow as its sender likes, and as many requests may be half sent.
``bound`` gives a uvicorn server's connections limits, whichever way the server was started.
"""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.types import Receive
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reconciler_dagster.portal.headers import SECURITY_HEADERS
from reconciler_dagster.portal.problems import MEDIA_TYPE, Problem
from reconciler_dagster.portal.rate import network_of
from reconciler_dagster.portal.settings import PortalSettings

_log = logging.getLogger(__name__)
# Who is refused while still sending is listened to for so long, or the answer would be lost.
_LINGER_SECONDS = 5.0
# Of a body's limit: a body in pieces of one byte is six times as long as what it says.
_OVERHEAD = 8
# What comes after a refusal is thrown away as it comes: then its sender gets to read why.
_THROWN_AWAY = 128


def bound(receive: Receive, settings: PortalSettings) -> None:
    """Bound the connections of the uvicorn server whose lifespan this is ``receive`` of.

    A server begins its lifespan before it listens, so this holds from the first connection on.
    Where the server is none of uvicorn's, or its parser is not known here, a warning says so.
    """
    if not _bound(receive, settings):
        _log.warning(
            "This server does not let the portal bound its connections: a header may be as long "
            "and as slow as its sender likes. Serve it by uvicorn, or put a proxy in front that "
            "has such limits."
        )


def _bound(receive: Receive, settings: PortalSettings) -> bool:
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if not isinstance(config, uvicorn.Config):
        return False
    protocol = config.http_protocol_class
    if issubclass(protocol, _Bounded):
        return True
    if not issubclass(protocol, (H11Protocol, HttpToolsProtocol)):
        return False
    limits = {"settings": settings, "half_open": HalfOpen(settings)}
    config.http_protocol_class = type("Bounded", (_Bounded, protocol), limits)
    # Its own limit would answer in its own way, and before ours where that is larger.
    config.h11_max_incomplete_event_size = 2 * settings.header_limit_bytes + 1
    # The portal has none, and a connection that became one would have no limits.
    config.ws_protocol_class = None
    return True


class HalfOpen:
    """The connections that have not sent a whole request yet, the oldest first."""

    def __init__(self, settings: PortalSettings) -> None:
        self._settings = settings
        self._all: dict[_Bounded, str] = {}
        self._by_network: dict[str, dict[_Bounded, None]] = {}

    def enter(self, connection: _Bounded, network: str) -> _Bounded | None:
        """Count a connection in; gives the one that has to make room for it.

        The oldest goes and not the newcomer: who means well is done within moments.
        """
        near = self._by_network.setdefault(network, {})
        self._all[connection], near[connection] = network, None
        # A Unix socket has no addresses to tell apart.
        if network and len(near) > self._settings.half_open_limit_per_address:
            return next(iter(near))
        if len(self._all) > self._settings.half_open_limit:
            return next(iter(self._all))
        return None

    def leave(self, connection: _Bounded) -> None:
        """Count a connection out, if it is in."""
        network = self._all.pop(connection, None)
        if network is not None:
            near = self._by_network[network]
            del near[connection]
            if not near:
                del self._by_network[network]


class _Bounded(asyncio.Protocol):
    """What comes before uvicorn's own protocol class, whichever parser that has."""

    settings: PortalSettings
    half_open: HalfOpen
    # Of uvicorn's classes.
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    client: tuple[str, int] | None
    cycle: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection in: its first request has begun."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._received = 0
        self._known: Any = None  # the newest request whose header has been seen to be in
        self._is_refused = False
        self._thrown_away = 0
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Let uvicorn parse it in steps, and look after each how far the request is."""
        step = self.settings.header_limit_bytes
        for start in range(0, len(data), step):
            if self._is_refused or self.transport.is_closing():
                break
            self._parse(data[start : start + step])
        if self._is_refused:
            self._thrown_away += len(data)
            if self._thrown_away > _THROWN_AWAY * self.settings.body_limit_bytes:
                self.transport.abort()

    def _parse(self, data: bytes) -> None:
        if self._timer is None:
            self._begin()
        self._received += len(data)
        was_in_body = self._in_body()
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is self._known and not was_in_body:
            if self._received > self.settings.header_limit_bytes:
                self._refuse(431, header_too_large(self.settings))
            return
        if self.cycle is not self._known:
            self._known, self._received = self.cycle, len(data)
            # The application answers a slow body; this is for when it does not read any more.
            self._wait(2 * self.settings.body_timeout_seconds)
        if not self._in_body():
            self._end()
        elif self._received > self._body_bound():
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        self._end()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Who does not read its answer is waited for no longer than who does not send."""
        super().pause_writing()
        self._stalled = self.loop.call_later(
            self.settings.body_timeout_seconds, self.transport.abort
        )

    def resume_writing(self) -> None:
        """It is being read again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _begin(self) -> None:
        self._wait(self.settings.header_timeout_seconds)
        oldest = self.half_open.enter(self, network_of(self.client[0]) if self.client else "")
        if oldest is not None:
            oldest._give_up(
                "Too many requests were only half sent, and this was the oldest: send it again."
            )

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._received = 0
        self.half_open.leave(self)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _in_body(self) -> bool:
        return self._known is self.cycle is not None and bool(self.cycle.more_body)

    def _body_bound(self) -> int:
        limits, headers = self.settings, dict(self.cycle.scope["headers"])
        # What follows a body in pieces is kept by the parser even where nobody wants it.
        if self.cycle.response_complete and b"transfer-encoding" not in headers:
            # To uvicorn there is more of it for ever; but after it the next header begins.
            declared = int(headers.get(b"content-length", 0))
            thrown_away = min(declared, _THROWN_AWAY * limits.body_limit_bytes)
            return 2 * limits.header_limit_bytes + thrown_away
        return limits.header_limit_bytes + _OVERHEAD * limits.body_limit_bytes

    def _too_slow(self) -> None:
        if self._is_answering():  # one request is at work, the next one has begun
            self._wait(self.settings.header_timeout_seconds)
        else:
            seconds = f"{self.settings.header_timeout_seconds:g}"
            self._give_up(f"The request's header did not arrive within {seconds} s.")

    def _give_up(self, why: str) -> None:
        if self._is_refused or self._in_body() or self._is_answering():
            self.transport.abort()
        elif self._received:
            self._refuse(408, why)
        else:  # it has asked for nothing: a browser's spare connection
            self.half_open.leave(self)
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self._in_body()

    def _refuse(self, status: int, why: str) -> None:
        """Answer past the parser, which has no request yet, and close."""
        if self._is_answering():
            self.transport.abort()
            return
        body = json.dumps(Problem(status, why).document).encode()
        headers = {
            **SECURITY_HEADERS,
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._is_refused = True
        self.half_open.leave(self)
        if status == 431 and self.transport.can_write_eof():
            self.transport.write_eof()
            self._wait(_LINGER_SECONDS)
        else:
            self.transport.close()


def header_too_large(settings: PortalSettings) -> str:
    """What is said of a header over the limits."""
    return (
        f"The request's line and header may have at most {settings.header_limit_bytes} bytes and "
        f"{settings.header_limit_count} lines. Where a cookie is that long, delete it."
    )
