"""The control API: who may speak to it, how it refuses, and its document."""

import asyncio
import re
from typing import Any

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from reconciler_dagster.sandbox.control.guard import why_refused
from reconciler_dagster.sandbox.server import build_app
from reconciler_dagster.sandbox.start import open_world
from reconciler_dagster.sandbox.testing import SandboxClient

API = "/sandbox/api"


def test_control_api_is_described(sandbox: SandboxClient) -> None:
    document = requests.get(f"{sandbox.url}/sandbox/api/openapi.json", timeout=30).json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["description"]
    page = requests.get(f"{sandbox.url}/sandbox/api/docs", timeout=30).text
    assert not re.findall(r"https?://(?!127)", page)


def test_every_operation_documents_its_refusals(shared: SandboxClient) -> None:
    document = requests.get(f"{shared.url}{API}/openapi.json", timeout=30).json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {"400", "403", "404", "422"} <= operation["responses"].keys()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("POST", "faults", {"act": "no such"}, 422, "body.act: Input should be 'status'"),
        ("POST", "faults", {"act": "slow", "path": "("}, 422, "not a regular expression"),
        ("POST", "clock", {"seconds": 1e30}, 422, "The clock cannot be moved that far"),
        ("PATCH", "switches", {"burst": -1}, 422, "The switch burst cannot be -1"),
        ("GET", "bases/appNone/history", None, 404, "No base appNone"),
        ("GET", "nothing", None, 404, "Not Found"),
        ("DELETE", "switches", None, 405, "DELETE is not possible here"),
    ],
)
def test_a_refusal_is_a_sentence(
    shared: SandboxClient, method: str, path: str, body: Any, status: int, told: str
) -> None:
    answer = requests.request(method, f"{shared.url}{API}/{path}", json=body, timeout=30)
    assert answer.status_code == status
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (f"{API}/switches", {"GET", "PATCH"}),
        (f"{API}/calls", {"GET", "DELETE"}),
        (f"{API}/status", {"GET"}),
        (f"{API}/bases/a/tables/b/records", {"GET", "POST", "PATCH"}),
        (f"{API}/bases/a/tables/b/records/c", {"GET", "PATCH", "DELETE"}),
        ("/", {"GET"}),
        ("/sandbox/page/main.js", {"GET", "HEAD"}),
    ],
)
def test_a_405_names_every_method_that_is_possible(
    shared: SandboxClient, path: str, allowed: set[str]
) -> None:
    answer = requests.put(f"{shared.url}{path}", timeout=30)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed


LOCAL = "127.0.0.1:8765"


@pytest.mark.parametrize(
    "host",
    [LOCAL, "127.0.0.1", "127.8.9.1:80", "localhost:8765", "LOCALHOST", "localhost.", "[::1]:8765"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_names_of_this_machine_pass(host: str, method: str) -> None:
    assert why_refused(method, Headers({"host": host}), ()) is None


@pytest.mark.parametrize(
    "host",
    [
        *("rebound.example", "localhost.evil.example", "evil.example:8765", "10.0.0.1", "0.0.0.0"),
        *("127.0.0.1.evil.example", "127.0.0.1@evil.example", "evil.example:80:80", "[::2]", ""),
        *("localhost evil", "[", "127.0.0.1,evil.example", "evil.example#localhost"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_other_names_do_not(host: str, method: str) -> None:
    assert "not served under the name" in str(why_refused(method, Headers({"host": host}), ()))


def test_without_a_name_or_under_two() -> None:
    assert why_refused("GET", Headers({}), ())
    twice = Headers(raw=[(b"host", LOCAL.encode()), (b"host", b"evil.example")])
    assert why_refused("GET", twice, ())


def test_a_name_can_be_allowed() -> None:
    allowed = {"sandbox.internal"}
    assert why_refused("POST", Headers({"host": "Sandbox.Internal:8765"}), allowed) is None
    assert why_refused("POST", Headers({"host": "other.internal"}), allowed)


CROSS_SITE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://["},
    {"origin": ""},
    {"origin": "http://127.0.0.1:9999"},  # another program's page on this machine
    {"origin": "http://localhost:8765"},
    {"origin": "http://127.0.0.1"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": f"http://{LOCAL}", "sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
]
OWN = [
    {},
    {"origin": f"http://{LOCAL}"},
    {"origin": f"http://{LOCAL}", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_another_site_may_read_nothing_back_and_write_nothing(headers: dict[str, str]) -> None:
    given_headers = Headers({"host": LOCAL, **headers})
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        assert "may not change anything" in str(why_refused(method, given_headers, ()))
    assert why_refused("GET", given_headers, ()) is None  # a link to the page is fine


@pytest.mark.parametrize("headers", OWN)
def test_the_page_and_programs_may_write(headers: dict[str, str]) -> None:
    assert why_refused("POST", Headers({"host": LOCAL, **headers}), ()) is None


_HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)


@given(_HEADER, _HEADER)
def test_no_header_is_an_error(host: str, origin: str) -> None:
    headers = Headers({"host": host, "origin": origin})
    if why_refused("POST", headers, ()) is None:
        assert host.lower().startswith(("127.", "localhost", "[::"))


def _writes(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method != "get"
    ]


def test_every_writing_route_refuses_other_sites_and_names(shared: SandboxClient) -> None:
    before = shared.status()
    document = requests.get(f"{shared.url}{API}/openapi.json", timeout=30).json()
    writes = _writes(document)
    assert len(writes) >= 17
    for method, path in writes:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            answer = requests.request(
                method, f"{shared.url}{path}", json={}, headers=headers, timeout=30
            )
            assert answer.status_code == 403, (method, path)
            assert answer.json()["detail"]
    after = shared.status()
    assert {**after, "now": ""} == {**before, "now": ""}


@pytest.mark.parametrize("path", ["/", f"{API}/status", f"{API}/docs", "/sandbox/page/main.js"])
def test_nothing_is_read_under_another_name(shared: SandboxClient, path: str) -> None:
    url = f"{shared.url}{path}"
    assert requests.get(url, timeout=30).status_code == 200
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=30).status_code == 403


def test_airtable_s_own_api_asks_for_a_token_instead(shared: SandboxClient) -> None:
    headers = {"Host": "api.airtable.example", "Authorization": f"Bearer {shared.token}"}
    url = f"{shared.url}/v0/meta/whoami"
    assert requests.get(url, headers=headers, timeout=30).status_code == 200


def test_allowed_names_reach_the_guard() -> None:
    world = open_world((), 0, 1, [])

    async def statuses(*names: str) -> list[int]:
        app = build_app(world, {"sandbox.internal"})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return [(await client.get(f"http://{name}{API}/status")).status_code for name in names]

    assert asyncio.run(statuses("sandbox.internal", "localhost", "other.internal")) == [
        200,
        200,
        403,
    ]
