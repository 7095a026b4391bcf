"""Who may speak to the control API and the page: programs of this machine, and the page itself.

They ask for no token. So that no web page elsewhere can use them through a browser on this machine,
a request must name this machine, and one that writes must not come from another site.
"""

import ipaddress
import urllib.parse
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

READING = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITE = frozenset({"same-origin", "none"})
"""What a browser says of its own page's requests, and of what a person asks for directly."""


class Guard:
    """Lets requests through to an application, or refuses them with 403 and the reason.

    `hosts` are the names, beside those of loopback, under which the sandbox may be reached.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        reason = None
        if scope["type"] == "http":
            reason = why_refused(scope["method"], Headers(scope=scope), self._hosts)
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await JSONResponse({"detail": reason}, 403)(scope, receive, send)


def why_refused(method: str, headers: Headers, hosts: Collection[str]) -> str | None:
    """Return why a request is refused, None if it may pass."""
    asked = headers.getlist("host")
    if len(asked) != 1 or not (_is_loopback(_name(asked[0])) or _name(asked[0]) in hosts):
        return (
            f"The sandbox is not served under the name {', '.join(asked) or 'that was asked for'}. "
            "Use 127.0.0.1 or localhost, or start it with --allow-host NAME."
        )
    if method in READING:
        return None
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and _place(origin) != asked[0].lower():
        return f"A page of {origin} may not change anything in the sandbox."
    if site is not None and site not in OWN_SITE:
        return "A page of another site may not change anything in the sandbox."
    return None


def _place(origin: str) -> str:
    """Return the host and port of an origin, "" where it has none (`null`)."""
    try:
        return urllib.parse.urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return the host's name or address without its port, "" where it is malformed."""
    try:
        return (urllib.parse.urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
