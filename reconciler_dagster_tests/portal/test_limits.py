"""What bounds a request, and how every error looks."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from reconciler_dagster.config import Settings
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.portal.guard import Guard
from reconciler_dagster.portal.problems import Problem
from reconciler_dagster.portal.rate import RateLimit
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster_tests.portal.conftest import SECRET, Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, problem, scalar


def test_a_large_body_is_413(server: Server, world: World, db: Engine) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[0]}/notes"
    problem(client.post(path, content=b"x" * (256 * 1024 + 1)), 413)

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    problem(client.post(path, content=endless()), 413)
    problem(client.post(path, content=b"x" * (256 * 1024)), 422)
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 0


def test_half_a_request_is_none() -> None:
    """A body that was cut off must not pass for a shorter one, or for none at all."""
    called = []

    def unasked(request: Request, error: Exception) -> Response:
        raise error

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(await receive())

    def ask(*messages: Message) -> None:
        left = iter(messages)

        async def receive() -> Message:
            return next(left)

        async def send(message: Message) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"6")]}
        guard = Guard(app, PortalSettings(body_limit_bytes=100), RateLimit(60), unasked)
        asyncio.run(guard(scope, receive, send))

    first: Message = {"type": "http.request", "body": b"abc", "more_body": True}
    ask(first, {"type": "http.disconnect"})
    assert called == []
    ask(first, {"type": "http.request", "body": b"def"})
    assert [message["body"] for message in called] == [b"abcdef"]


def test_rate_limit_is_each_users_own(serve: Callable[..., Server], world: World) -> None:
    server = serve(rate_limit_per_minute=0.01)  # one, and no other for hours
    client = server.as_user(world.user)
    ok(client.get("/api/leads"))
    refused = client.get("/api/leads")
    assert problem(refused, 429)["type"] == "urn:reconciler:problem:rate-limit"
    assert 0 < int(refused.headers["retry-after"]) <= 6000
    ok(server.as_user(world.colleague).get("/api/leads"))


def test_guessing_is_slowed_down_by_address(serve: Callable[..., Server], world: World) -> None:
    server = serve(rate_limit_per_minute=0.01)
    bad = server.client({"Authorization": "Bearer x.y.z"})
    problem(bad.get("/api/leads"), 401)
    problem(bad.get("/api/leads"), 429)
    problem(server.client().get("/api/leads"), 429)
    # Who has a token is not slowed down by those who have none.
    ok(server.as_user(world.user).get("/api/leads"))


def test_the_bucket_by_its_clock() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    for _ in range(30):
        limit.take("a")
    with pytest.raises(Problem) as caught:
        limit.take("a")
    assert caught.value.headers["Retry-After"] == "1"
    limit.take("b")
    now[0] += 1
    limit.take("a")
    with pytest.raises(Problem):
        limit.take("a")
    now[0] += 3600
    for _ in range(30):
        limit.take("a")
    with pytest.raises(Problem):
        limit.take("a")


def test_buckets_do_not_grow_without_end() -> None:
    limit = RateLimit(60)
    for number in range(11_000):
        limit.take(f"address {number}")
    assert len(limit._buckets) == 10_000


def test_unknown_routes_and_methods(server: Server, world: World) -> None:
    client = server.as_user(world.user)
    problem(client.get("/api/nothing"), 404)
    problem(client.get("/nothing"), 404)
    problem(client.get("/static/nothing"), 404)
    problem(client.get("/api/leads/"), 404)
    for path, allowed in [
        ("/api/leads", "GET"),
        (f"/api/leads/{world.leads[0]}/notes", "GET, POST"),
        (f"/api/leads/{world.leads[0]}/claim", "POST"),
        ("/api/admin/sync/delta", "POST"),
    ]:
        answer = client.delete(path)
        problem(answer, 405)
        assert answer.headers["allow"] == allowed
    problem(client.get("/api/leads/not-a-uuid"), 422)
    problem(client.post(f"/api/leads/{world.leads[0]}/notes", data={"content": "x"}), 422)


def test_every_answer_has_the_security_headers(server: Server, world: World) -> None:
    client = server.as_user(world.user)
    for path in ("/api/leads", "/nothing", "/console/sign-in", "/static/console.css", "/docs"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"]


def test_no_page_has_inline_script_or_style(server: Server, world: World) -> None:
    client = signed_in(server, world.root)
    lead = f"leads/{world.leads[0]}"
    for page in ("", "/leads", f"/{lead}", "/conflicts", "/quarantine", "/deletions", "/sign-in"):
        html = client.get(f"/console{page}").text
        assert "<script>" not in html
        assert " style=" not in html
        assert " onclick=" not in html
        assert "//cdn" not in html


def test_only_the_names_that_are_served(serve: Callable[..., Server], world: World) -> None:
    demo, named = serve(demo=True), serve(allowed_hosts="portal.example, other.example")
    problem(demo.client().get("/api/leads", headers={"Host": "evil.example"}), 421)
    for name in ("127.0.0.1:8000", "LOCALHOST:1", "[::1]:80", "localhost"):
        problem(demo.client().get("/api/leads", headers={"Host": name}), 401)
    problem(named.client().get("/api/leads", headers={"Host": "Portal.example:443"}), 401)
    problem(named.client().get("/api/leads"), 421)
    problem(serve().client().get("/api/leads", headers={"Host": "any.example"}), 401)


def test_a_database_that_is_gone_is_503(serve: Callable[..., Server]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://portal:hunter2@127.0.0.1:{free.getsockname()[1]}/x"
        settings = Settings(database_url=SecretStr(url), portal_jwt_secret=SecretStr(SECRET))
        server = serve(settings)
        ann = User(uuid4(), "ann@portal.example", "Ann", Role.CLIENT_USER, uuid4())
        alive = server.client().get("/health")
        answer = server.as_user(ann).get(f"/api/leads/{uuid4()}")
    assert alive.status_code == 200, "to start it again would not mend the database"
    problem(answer, 503)
    assert answer.headers["retry-after"]
    assert "hunter2" not in answer.text


def test_what_goes_wrong_here_is_500_and_says_nothing(
    server: Server, world: World, db: Engine
) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE reconciler.quarantine RENAME reason TO another")
    answer = server.as_user(world.user).get(f"/api/leads/{world.leads[0]}")
    problem(answer, 500)
    assert "quarantine" not in answer.text
    page = signed_in(server, world.admin).get("/console/quarantine")
    assert page.status_code == 500
    assert "Something went wrong here" in page.text


def test_health(server: Server) -> None:
    assert ok(server.client().get("/health")) == {"status": "ok", "doorbell": "off"}


def test_as_an_application_for_any_server(portal_db: str, tmp_path: Path) -> None:
    """From the environment alone, as a server's factory calls it."""
    script = (
        "import os; from reconciler_dagster.portal.app import create_app; "
        "app = create_app(); print(app.state.portal.tokens, repr(app.state.portal))"
    )
    environment = {
        "DATABASE_URL": portal_db,
        "PORTAL_JWT_SECRET": SECRET,
        "RECONCILER_STATE_DIR": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "Tokens" in done.stdout
    assert SECRET not in done.stdout
