"""What anybody may ask for is limited by address; every refusal says why, to people as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from reconciler_dagster.portal.rate import network_of
from reconciler_dagster_tests.portal.conftest import Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, problem

OPEN = [
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/console"),
    ("GET", "/console/sign-in"),
    ("POST", "/console/sign-in"),
    ("POST", "/console/sign-out"),
    ("POST", "/console/sync"),
    ("GET", "/api/leads"),
    ("GET", "/api/nothing"),
    ("DELETE", "/api/leads"),
    ("GET", "/nothing"),
    ("GET", "/static/nothing"),
    ("GET", "/console/nothing"),
]
JUNK = {"Authorization": "Bearer x.y.z", "Cookie": "portal_session=x.y.z"}


@pytest.mark.parametrize("headers", [{}, JUNK], ids=["no token", "a made-up token"])
@pytest.mark.parametrize(("method", "path"), OPEN)
def test_every_open_route_is_limited(
    serve: Callable[..., Server], method: str, path: str, headers: dict[str, str]
) -> None:
    client = serve(rate_limit_per_minute=0.01).client(headers)  # one, and no other for hours
    if path.startswith("/static/"):  # of files ten
        for _ in range(9):
            assert client.request(method, path).status_code == 404
    assert client.request(method, path).status_code != 429
    answer = client.request(method, path)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 6000


def test_every_route_is_counted(serve: Callable[..., Server]) -> None:
    """Also one that is added tomorrow: of all that there are, none answers a second time."""
    app = serve().app
    routes = [*app.routes, *app.state.routes]
    paths = {(route.path, method) for route in routes for method in getattr(route, "methods", ())}
    assert len(paths) > 30
    server = serve(rate_limit_per_minute=0.01)
    client = server.client({**JUNK, "Origin": server.url})
    client.get("/health")
    for path, method in sorted(paths):
        asked = path.replace("{", "").replace("}", "").replace(":path", "")
        assert client.request(method, asked).status_code == 429, (method, path)


def test_who_is_signed_in_is_not_slowed_down_by_strangers(
    serve: Callable[..., Server], world: World
) -> None:
    server = serve(rate_limit_per_minute=4)
    browser = signed_in(server, world.admin)
    for _ in range(5):
        server.client().get("/health")
    problem(server.client().get("/health"), 429)
    assert browser.get("/console/leads").status_code == 200
    ok(server.as_user(world.user).get("/api/leads"))


def test_guessing_at_the_sign_in_is_slowed_down(serve: Callable[..., Server]) -> None:
    server = serve(rate_limit_per_minute=6)
    client = server.client({"Origin": server.url})
    answers = [client.post("/console/sign-in", data={"token": "x.y.z"}) for _ in range(4)]
    assert [each.status_code for each in answers] == [303, 303, 303, 429]
    assert "try again in" in answers[-1].text


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("x" * 5000, "x" * 64),
    ],
)
def test_an_ipv6_network_is_one(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_forwarded_address_has_its_own_bucket(serve: Callable[..., Server]) -> None:
    client = serve(rate_limit_per_minute=0.01).client()
    for address in ("203.0.113.1", "203.0.113.2"):
        headers = {"X-Forwarded-For": address}
        assert client.get("/health", headers=headers).status_code == 200
        assert client.get("/health", headers=headers).status_code == 429


# Refusals


@pytest.mark.parametrize(
    ("detail", "ask"),
    [
        (
            "The body may have at most 262144 bytes.",
            lambda c: c.post("/console/sync", content=b"x" * 300_000),
        ),
        (
            "This form was sent from elsewhere.",
            lambda c: c.post("/console/sync", headers={"Origin": "https://evil.test"}),
        ),
        (
            "The request&#39;s line and header may have at most 32768 bytes",
            lambda c: c.get("/console/leads", headers={f"X-{n}": "a" for n in range(150)}),
        ),
        ("There is nothing at this address.", lambda c: c.get("/console/nothing")),
        ("This cannot be done at this address", lambda c: c.delete("/console/leads")),
    ],
)
def test_a_person_reads_why_as_a_page(
    server: Server, world: World, detail: str, ask: Callable[[httpx.Client], httpx.Response]
) -> None:
    answer = ask(signed_in(server, world.admin))
    assert answer.status_code in (403, 404, 405, 413, 431)
    assert answer.headers["content-type"].startswith("text/html")
    assert detail in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"


def test_a_page_for_what_is_refused_by_rate(serve: Callable[..., Server]) -> None:
    client = serve(rate_limit_per_minute=0.01).client()
    client.get("/console/sign-in")
    answer = client.get("/console/sign-in")
    assert answer.status_code == 429
    assert answer.headers["content-type"].startswith("text/html")
    assert "Too many requests: try again in" in answer.text


def test_a_large_body_in_pieces_is_never_kept(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    problem(server.client().post("/api/leads", content=endless()), 413)


# Host


@pytest.mark.parametrize(
    "host",
    [
        "evil.test/console?x=",
        "evil.test#",
        "a b",
        "user@evil.test",
        "evil.test\\",
        "a:b",
        "a:123456",
        "a,b",
        "[::1",
        "a" * 300 + "ä",
    ],
)
def test_a_host_that_is_none_is_400(server: Server, host: str) -> None:
    headers = [(b"Host", host.encode())]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        problem(client.get("/api/leads", headers=headers), 400)


# Caches


def test_no_page_with_data_is_kept_by_a_cache(server: Server, world: World) -> None:
    browser, api = signed_in(server, world.root), server.as_user(world.root)
    lead = world.leads[0]
    for path in (
        "",
        "/leads",
        f"/leads/{lead}",
        "/conflicts",
        "/quarantine",
        "/deletions",
        "/runs",
    ):
        assert browser.get(f"/console{path}").headers["cache-control"] == "no-store"
    for path in ("/api/leads", f"/api/leads/{lead}", "/api/admin/sync/status", "/api/nothing"):
        assert api.get(path).headers["cache-control"] == "no-store"
    for path in ("/health", "/console/sign-in", "/console", "/"):
        assert server.client().get(path).headers["cache-control"] == "no-store"
