"""Signing in to the console, and forms that only its own pages may send."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import scalar

PAGES = ("", "/leads", "/conflicts", "/quarantine", "/deletions", "/runs", "/drift")


def test_the_session_cookie_is_out_of_reach(server: Server, world: World) -> None:
    client = server.client({"Origin": server.url})
    answer = client.post("/console/sign-in", data={"token": server.token(world.user)})
    (cookie,) = answer.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict", "Path=/console"} <= set(cookie.split("; "))
    assert client.get("/console/leads").status_code == 200
    assert client.post("/console/sign-out").status_code == 303
    assert client.get("/console/leads").status_code == 303


def test_over_https_the_cookie_is_secure(server: Server, world: World) -> None:
    client = server.client({"Origin": server.url, "X-Forwarded-Proto": "https"})
    answer = client.post("/console/sign-in", data={"token": server.token(world.user)})
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("page", PAGES)
def test_without_a_session_every_page_leads_to_the_sign_in(server: Server, page: str) -> None:
    answer = server.client().get(f"/console{page}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=/console")
    fragment = server.client().get(f"/console{page}", headers={"HX-Request": "true"})
    assert fragment.headers["hx-redirect"] == "/console/sign-in"


def test_an_expired_session_says_so(server: Server, world: World) -> None:
    client = server.client({"Cookie": "portal_session=x.y.z"})
    answer = client.get("/console/leads")
    assert answer.status_code == 303
    client = server.client({"Cookie": answer.headers["set-cookie"].split(";")[0]})
    assert "The token is not valid." in client.get("/console/sign-in").text


def test_a_bad_token_does_not_sign_in(server: Server) -> None:
    client = server.client({"Origin": server.url})
    answer = client.post("/console/sign-in", data={"token": "x.y.z"})
    assert answer.status_code == 303
    assert "portal_session" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "wanted", ["https://evil.test/", "//evil.test/console", "/api/leads", "javascript:x", ""]
)
def test_sign_in_leads_only_into_the_console(server: Server, world: World, wanted: str) -> None:
    client = server.client({"Origin": server.url})
    token = server.token(world.user)
    answer = client.post("/console/sign-in", data={"token": token, "next": wanted})
    assert answer.headers["location"] == "/console"
    answer = client.post("/console/sign-in", data={"token": token, "next": "/console/leads"})
    assert answer.headers["location"] == "/console/leads"


def test_only_the_demo_lets_people_in_without_a_token(
    serve: Callable[..., Server], world: World
) -> None:
    real, demo = serve(), serve(demo=True)
    choice = {"user_id": str(world.root.id)}
    for server, status in ((real, 403), (demo, 303)):
        client = server.client({"Origin": server.url})
        assert ("root@agency.test" in client.get("/console/sign-in").text) == (status == 303)
        assert client.post("/console/sign-in", data=choice).status_code == status
    client = demo.client({"Origin": demo.url})
    assert client.post("/console/sign-in", data={"user_id": str(uuid4())}).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
    ],
)
def test_forms_from_elsewhere_are_refused(
    server: Server, world: World, db: Engine, headers: dict[str, str]
) -> None:
    cookie = f"portal_session={server.token(world.admin)}"
    client = server.client({**headers, "Cookie": cookie})
    for path, fields in [
        ("/sync", {}),
        (f"/leads/{world.leads[0]}/claim", {}),
        ("/client", {"client_id": str(world.client)}),
        ("/sign-in", {"token": server.token(world.admin)}),
        ("/sign-out", {}),
    ]:
        answer = client.post(f"/console{path}", data=fields)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 0
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 0
