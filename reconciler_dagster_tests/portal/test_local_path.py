"""Where the sign-in may lead: into the console, however another place is written."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler_dagster.portal.console.local import HOME, local_path
from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World

INSIDE = [
    "/console",
    "/console/",
    "/console/leads",
    "/console/leads?search=a%20b&page=2",
    "/console/leads/0b0e8a3e-0000-4000-8000-000000000000",
    "/console/runs/a_b-c",
]
ELSEWHERE = [
    "",
    "/",
    "//",
    "///",
    "///evil.test",
    "//evil.test/console",
    "///console",
    "////console/leads",
    "//console/leads",
    "/\\evil.test",
    "\\\\evil.test",
    "/\\/console",
    "\\/console",
    "/console\\evil",
    "/console/\\evil.test",
    "/console//evil.test",
    "/console/..//evil.test",
    "/console/../api/leads",
    "/console/./leads",
    "/console/%2e%2e/api",
    "/console/%2F%2Fevil.test",
    "/console/%5Cevil.test",
    "%2F%2Fevil.test",
    "/%2Fevil.test",
    "/%09/evil.test",
    "/\t/evil.test",
    "\t//evil.test",
    "/console\n",
    "/console\r\nSet-Cookie: a=b",
    "/console\x00",
    " /console",
    "/console ",
    "/console#@evil.test",
    "/console@evil.test",
    "/console:80",
    "/consoles",
    "/console.evil.test",
    "/api/leads",
    "https:/console",
    "https:///console",
    "https://evil.test/console",
    "HTTPS://evil.test",
    "http:console",
    "javascript:alert(1)",
    "data:text/html,x",
    "console",
    "./console",
    "/console/ä",
    "/console/\u2215evil",
    "\uff0f/evil.test",
    "/console?next=//evil.test\\",
]


@pytest.mark.parametrize("wanted", INSIDE)
def test_a_page_of_the_console(wanted: str) -> None:
    assert local_path(wanted) == wanted


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_anywhere_else_is_the_start_page(wanted: str) -> None:
    assert local_path(wanted) == HOME


SIGNS = [
    "/",
    "\\",
    "//",
    "..",
    ".",
    "%2f",
    "%5c",
    "@",
    ":",
    "#",
    "?",
    "\t",
    "\r",
    "\n",
    " ",
    "\x00",
]
WORDS = ["console", "/console", "evil.test", "https:", "a", "-", "ä"]
PIECES = st.lists(st.sampled_from(SIGNS + WORDS) | st.text(max_size=3), max_size=8).map("".join)


@given(st.text() | PIECES | PIECES.map(lambda text: f"/console{text}"))
@example("///console/x")
def test_whatever_comes_the_browser_stays(wanted: str) -> None:
    """As a browser reads it: blanks and control characters fall away, `\\` is `/`."""
    local = local_path(wanted)
    seen = local.translate({ord(c): None for c in "\t\r\n"}).strip().replace("\\", "/")
    found = urlsplit(urljoin("https://portal.test/console/sign-in", seen))
    assert (found.scheme, found.netloc) == ("https", "portal.test")
    assert found.path == "/console" or found.path.startswith("/console/")
    assert seen == local


@pytest.mark.parametrize("wanted", ["///console/x", "/\\evil.test", "//evil.test", "/console\t"])
def test_the_page_and_the_answer_say_the_same(server: Server, world: World, wanted: str) -> None:
    client = server.client({"Origin": server.url})
    page = client.get(f"/console/sign-in?next={quote(wanted)}")
    assert 'name="next" value="/console"' in page.text
    form = {"token": server.token(world.user), "next": wanted}
    assert client.post("/console/sign-in", data=form).headers["location"] == HOME


def test_an_odd_page_that_was_asked_for_leads_home(server: Server) -> None:
    answer = server.client().get("/console/leads/x%5Cevil.test")
    assert answer.headers["location"].startswith("/console/sign-in?next=")
    page = server.client().get(answer.headers["location"])
    assert 'name="next" value="/console"' in page.text
