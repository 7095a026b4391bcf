"""What a connection may do before anybody knows whose it is, at a real socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from reconciler_dagster_tests.portal.conftest import SECRET, Server, serving
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok

HALF = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: "


def connect(url: str) -> socket.socket:
    found = urlsplit(url)
    assert found.hostname
    assert found.port
    # Long enough for any machine: it only keeps a failing test from waiting for ever.
    return socket.create_connection((found.hostname, found.port), timeout=120)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    got = b""
    try:
        while more := connection.recv(65536):
            got += more
    except ConnectionResetError:
        pass
    return got


def refused(got: bytes, status: int) -> dict[str, Any]:
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), got[:200]
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b"cache-control: no-store" in head.lower()
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status
    assert document["detail"].endswith(".")
    return document


def is_open(connection: socket.socket) -> bool:
    """Whether nothing but an answer has come: no end."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def is_cut_off(connection: socket.socket, data: bytes, pause: float) -> bool:
    """Whether the server closes on who sends this again and again."""
    for _ in range(2000):
        try:
            connection.sendall(data)
        except OSError:
            return True
        time.sleep(pause)
    return False


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def served(serve: Callable[..., Server], parser: str, **settings: object) -> Iterator[str]:
    """The portal behind one of uvicorn's parsers."""
    app = serve(**settings).app
    with serving(app, http=parser) as url:
        yield url


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_long_header_is_431(serve: Callable[..., Server], parser: str, end: bytes) -> None:
    """Whether it ends or not: an endless one is not waited for."""
    with served(serve, parser) as url, connect(url) as connection:
        connection.sendall(HALF + b"x" * 5_000_000 + end)
        refused(answer(connection), 431)


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 150 + b"\r\n",
        b"GET /health?" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["many lines", "long query", "long path"],
)
def test_many_lines_and_a_long_address_are_431(
    serve: Callable[..., Server], parser: str, request_text: bytes
) -> None:
    with served(serve, parser) as url, connect(url) as connection:
        connection.sendall(request_text)
        connection.shutdown(socket.SHUT_WR)
        refused(answer(connection), 431)


def test_a_long_session_fits(serve: Callable[..., Server], parser: str) -> None:
    headers = {"Cookie": f"portal_session={'x' * 8192}"}
    with served(serve, parser) as url:
        assert httpx.get(f"{url}/health", headers=headers).status_code == 200


def test_a_slow_header_is_given_up(serve: Callable[..., Server], parser: str) -> None:
    with served(serve, parser, header_timeout_seconds=0.3) as url:
        with connect(url) as silent, connect(url) as half:
            half.sendall(HALF)
            refused(answer(half), 408)
            assert answer(silent) == b""
        # A kept connection is no way around it.
        with connect(url) as kept:
            kept.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b" 200 " in kept.recv(65536).split(b"\r\n")[0]
            kept.sendall(HALF)
            got = answer(kept)
            refused(got[got.index(b"HTTP/1.1 408") :], 408)


def test_dripping_does_not_help(serve: Callable[..., Server], parser: str) -> None:
    with served(serve, parser, header_timeout_seconds=0.5) as url, connect(url) as connection:
        connection.sendall(HALF)
        assert is_cut_off(connection, b"x", 0.1)


def test_a_slow_body_is_given_up(serve: Callable[..., Server], parser: str) -> None:
    with served(serve, parser, body_timeout_seconds=0.3) as url, connect(url) as connection:
        connection.sendall(b"POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        refused(answer(connection), 408)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_and_its_sender_reads_why(
    serve: Callable[..., Server], parser: str, chunked: bool
) -> None:
    """Who sends all of it before looking gets the answer all the same, where it is no reset."""
    body = b"x" * (2_000_000 if chunked else 20_000_000)
    how = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" if chunked else b"Content-Length: %d\r\n\r\n"
    with served(serve, parser, body_limit_bytes=300_000) as url, connect(url) as connection:
        connection.sendall(b"POST /api/x HTTP/1.1\r\nHost: a\r\n" + how % len(body) + body)
        got = b""
        while b"}" not in got:
            got += connection.recv(65536)
        assert "300000" in refused(got, 413)["detail"]


def test_the_header_after_a_refused_body_has_its_bound(
    serve: Callable[..., Server], parser: str
) -> None:
    """The answer came before the body was read; the connection goes on, and so do the limits."""
    with served(serve, parser, body_limit_bytes=1000) as url, connect(url) as connection:
        connection.sendall(b"POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n")
        got = b""
        while b"}" not in got:
            got += connection.recv(65536)
        refused(got, 413)
        connection.sendall(b"x" * 3000 + b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: ")
        assert is_cut_off(connection, b"z" * 1000, 0.001)


def test_what_follows_a_body_is_bounded_too(serve: Callable[..., Server], parser: str) -> None:
    """Lines after the last piece of a body are kept by the parser, whoever reads them."""
    with served(serve, parser, body_limit_bytes=1000) as url, connect(url) as connection:
        connection.sendall(
            b"POST /api/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        )
        assert is_cut_off(connection, b"X-After: " + b"x" * 1000 + b"\r\n", 0.001)


def test_half_sent_requests_make_room(serve: Callable[..., Server], parser: str) -> None:
    """120 from one address, as seen in the open: no more than the limit stay, and others get in."""
    with served(serve, parser, half_open_limit_per_address=10, header_timeout_seconds=600) as url:
        half = [connect(url) for _ in range(120)]
        for connection in half:
            try:
                connection.sendall(HALF)
            except OSError:
                continue
            assert httpx.get(f"{url}/health").status_code == 200
        still = [is_open(connection) for connection in half]
        assert sum(still) <= 10
        assert all(still[-5:]), "the newest stay"
        for connection in half:
            connection.close()


def test_half_sent_requests_in_all(serve: Callable[..., Server], parser: str) -> None:
    """Addresses in plenty do not help either."""
    with served(serve, parser, half_open_limit=8, header_timeout_seconds=600) as url:
        port = urlsplit(url).port
        half = []
        for number in range(30):
            own = socket.create_connection(
                ("127.0.0.1", port), timeout=120, source_address=(f"127.0.0.{number + 2}", 0)
            )
            own.sendall(HALF)
            half.append(own)
        assert httpx.get(f"{url}/health").status_code == 200
        assert sum(is_open(connection) for connection in half) <= 8
        for connection in half:
            connection.close()


def test_a_body_in_pieces_comes_through(serve: Callable[..., Server], parser: str) -> None:
    """However it is cut, and again on the same connection."""

    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 4000

    with (
        served(serve, parser, header_limit_bytes=2000) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        for _ in range(3):
            assert client.post("/nothing", content=pieces()).status_code == 404
            assert client.post("/nothing", content=b"x" * 200_000).status_code == 404
            assert client.post("/nothing", content=b"x" * 300_000).status_code == 413


def test_requests_one_after_the_other_and_at_once(
    serve: Callable[..., Server], parser: str, world: World
) -> None:
    """The bounds are of what is half sent: who sends whole requests never meets them."""
    with served(serve, parser, half_open_limit=3, half_open_limit_per_address=3) as url:
        with httpx.Client(base_url=url, timeout=120) as client:
            for _ in range(20):
                assert ok(client.get("/health"))["status"] == "ok"
        kept = [httpx.Client(base_url=url, timeout=120) for _ in range(10)]
        for client in kept * 2:
            assert ok(client.get("/health"))["status"] == "ok"
        for client in kept:
            client.close()
        with connect(url) as pipelined:
            pipelined.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
            got = b""
            while got.count(b'"status":"ok"') < 5:
                more = pipelined.recv(65536)
                assert more, got
                got += more


def test_two_hosts_are_400(serve: Callable[..., Server]) -> None:
    """One of them might be what a proxy went by."""
    with served(serve, "httptools") as url, connect(url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        refused(answer(connection), 400)


def test_a_websocket_is_no_way_around(serve: Callable[..., Server], parser: str) -> None:
    with served(serve, parser, header_timeout_seconds=0.5) as url, connect(url) as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " not in answer(connection).split(b"\r\n")[0]


def test_started_as_the_documents_say(portal_db: str, tmp_path: Path) -> None:
    """The command of docs/portal.md, with nothing about limits in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": portal_db,
        "PORTAL_JWT_SECRET": SECRET,
        "RECONCILER_STATE_DIR": str(tmp_path),
        "PORTAL_HEADER_TIMEOUT_SECONDS": "0.5",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory"]
    command += ["reconciler_dagster.portal.app:create_app", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        while True:
            try:
                connection = connect(f"http://127.0.0.1:{port}")
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        with connection:
            connection.sendall(HALF)
            refused(answer(connection), 408)
    finally:
        process.terminate()
        _, said = process.communicate()
    assert b"bound its connections" not in said
