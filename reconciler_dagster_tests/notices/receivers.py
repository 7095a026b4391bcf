"""Real receivers: an SMTP server, and an HTTP server that can refuse."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from reconciler_dagster.notices.settings import NoticeSettings


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Endpoint:
    """``status``: what it answers with. ``posted``: what it was sent, GETs too."""

    url: str = ""
    status: int = 200
    posted: list[Posted] = field(default_factory=list)

    def of(self, path: str) -> list[Posted]:
        return [each for each in self.posted if each.path == path]


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """An HTTP server on loopback."""
    own = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            own.posted.append(Posted(self.path, headers, body))
            self.send_response(own.status)
            self.end_headers()
            self.wfile.write(b"told" if own.status < 300 else b"not now")

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    own.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silent_server(drips: bytes = b"") -> Iterator[int]:
    """A port that accepts and never gets to the point, whatever is said to it. ``drips``: what it
    says again and again.
    """
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while not over.wait(0.1):
                    self.request.sendall(drips)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            over.set()
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """What an SMTP server has taken, and for whom."""

    url: str = ""
    mails: list[Message] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refuses: bool = False

    @property
    def subjects(self) -> list[str]:
        """Unfolded."""
        return [" ".join(str(mail["Subject"]).split()) for mail in self.mails]


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server on loopback that wants a password."""
    own = Mailbox()

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            if own.refuses:
                return "451 the disk is full"
            own.mails.append(message_from_bytes(envelope.content))
            return "250 taken"

    def authenticate(server: Any, session: Any, envelope: Any, way: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        own.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"pass word/1")

    port = free_port()
    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=port,
        authenticator=authenticate,
        auth_require_tls=False,
    )
    controller.start()
    own.url = f"smtp://robot:pass%20word%2F1@127.0.0.1:{port}"
    try:
        yield own
    finally:
        controller.stop()


def notice_settings(own: Endpoint, box: Mailbox | None = None, **more: Any) -> NoticeSettings:
    """All four channels at these receivers; nothing settles and nothing is held."""
    given: dict[str, Any] = {
        "slack_url": f"{own.url}/slack/T0000SLACKTOKEN",
        "slack_least": "info",
        "webhook_url": f"{own.url}/webhook",
        "webhook_secret": "whsec-0123456789abcdef",
        "pagerduty_key": "pdkey0123456789abcdef0123456789ab",
        "pagerduty_url": f"{own.url}/pagerduty",
        "pagerduty_least": "info",
        "settle_seconds": 0,
        "hold_seconds": 0,
    }
    if box is not None:
        given |= {"smtp_url": box.url, "email_to": "ops@example.com, Night <night@example.com>"}
    return NoticeSettings(**(given | more))
