"""The console in a real browser: pages, progress, keyboard, and no error in its log."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import Engine

from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, scalar

# Long enough for a machine that does much else; what is waited for comes when it comes.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: set CHROMIUM to its path")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def server(serve: Callable[..., Server], world: World) -> Server:
    return serve(demo=True)


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A tab whose log must stay empty: a refused script or style would be an error there."""
    context = browser.new_context(base_url=server.url)
    context.set_default_timeout(60_000)
    tab, complaints = context.new_page(), []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda entry: complaints.append(entry.text) if entry.type in ("error", "warning") else None,
    )
    yield tab
    context.close()
    assert complaints == []


def enter(page: Page, name: str) -> None:
    page.goto("/console")
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_manual_sync_is_pressed_and_watched(page: Page, db: Engine, world: World) -> None:
    enter(page, "Ana Costa")
    expect(page.get_by_text("Every field of every lead is as it was last agreed.")).to_be_visible()
    page.get_by_role("button", name="Manual Sync").click()
    expect(page.get_by_text("Waiting for the run to start")).to_be_visible()
    expect(page.get_by_role("button", name="Syncing…")).to_be_disabled()
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 1
    engine_writes(db, "UPDATE reconciler.manual_sync_request SET state = 'started', run_id = 'r1'")
    expect(page.get_by_text("The run is at work.")).to_be_visible()
    with db.begin() as connection:
        data.run(connection, world.client, purpose="manual", remote_writes=4, airtable_calls=2)
    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'succeeded', finished_at = now(),"
        """ counts = '{"remote_writes": 4, "airtable_calls": 2}'"""
    )  # fmt: skip
    expect(page.get_by_text("4 to Airtable, 2 calls")).to_be_visible()
    expect(page.get_by_role("button", name="Manual Sync")).to_be_enabled()
    # The runs below are read anew by themselves.
    table = page.get_by_role("region", name="Last runs, table")
    expect(table.get_by_role("link", name="Manual sync")).to_be_visible()
    # The page that is loaded later shows the same.
    page.reload()
    expect(page.get_by_text("4 to Airtable, 2 calls")).to_be_visible()


def test_a_lead_is_found_claimed_and_noted(page: Page, db: Engine) -> None:
    enter(page, "Uma Patel")
    page.get_by_role("searchbox", name="Search").fill("okafor")
    expect(page.get_by_role("status")).to_have_text("1 lead")
    expect(page).to_have_url(re.compile("search=okafor"))
    page.get_by_role("link", name="David Okafor").click()
    page.get_by_role("button", name="Claim", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("The lead is yours.")
    expect(page.get_by_text("waiting to be sent")).to_be_visible()
    page.get_by_label("New note").fill("Rang. Wants an offer.")
    page.get_by_label("About").select_option("Call")
    page.get_by_role("button", name="Add note").click()
    notes = page.get_by_role("region", name="Notes")
    expect(notes.get_by_text("Rang. Wants an offer.")).to_be_visible()
    expect(notes.get_by_text("Uma Patel")).to_be_visible()
    page.get_by_text("Remove from campaign").click()
    page.get_by_label("Reason").fill("Asked to stop")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("SMS stopped: Asked to stop")).to_be_visible()
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 3


def test_a_loser_is_taken_back(page: Page, db: Engine, world: World) -> None:
    with db.begin() as connection:
        data.conflict(connection, world.client, world.leads[0], "hrq_status", "Qualified", "Review")
    enter(page, "Ana Costa")
    page.get_by_role("link", name="Conflicts").click()
    page.get_by_role("button", name="Take back the losing value of HRQ Status, Ada Marsh").click()
    expect(page.get_by_text("taken back", exact=True)).to_be_visible()
    page.get_by_role("link", name="Ada Marsh").click()
    row = page.get_by_role("row", name="HRQ Status")
    expect(row.get_by_role("cell").nth(0)).to_have_text("Review")
    expect(row.get_by_role("cell").nth(1)).to_have_text("Qualified")


def test_by_keyboard_alone(page: Page, db: Engine) -> None:
    page.goto("/console")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    button = page.get_by_role("button", name="Ana Costa")
    for _ in range(10):
        page.keyboard.press("Tab")
        if button.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/console")
    press = page.get_by_role("button", name="Manual Sync")
    for _ in range(15):
        page.keyboard.press("Tab")
        if press.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("Waiting for the run to start")).to_be_visible()


def test_a_token_that_is_handed_over(page: Page, server: Server, world: World) -> None:
    token = server.token(world.admin)
    page.goto(f"/console/sign-in#token={token}")
    expect(page.get_by_label("Token")).to_have_value(token)
    assert "token" not in page.url
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Northwind Coaching")).to_be_visible()


def test_a_super_admin_changes_the_client(page: Page) -> None:
    enter(page, "Robin Reyes")
    page.get_by_label("Client", exact=True).select_option("Tailspin Events")
    expect(page.get_by_role("heading", name="Tailspin Events")).to_be_visible()


def test_without_script_everything_still_works(
    browser: Browser, server: Server, db: Engine
) -> None:
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    context.set_default_timeout(60_000)
    tab = context.new_page()
    enter(tab, "Robin Reyes")
    tab.get_by_role("button", name="Manual Sync").click()
    expect(tab.get_by_text("Waiting for the run to start")).to_be_visible()
    tab.get_by_label("Client", exact=True).select_option("Tailspin Events")
    tab.get_by_role("button", name="Show").click()
    expect(tab.get_by_role("heading", name="Tailspin Events")).to_be_visible()
    tab.get_by_role("link", name="Leads").click()
    tab.get_by_label("Search").fill("rossi")
    tab.get_by_role("button", name="Search").click()
    expect(tab.get_by_role("status")).to_have_text("1 lead")
    context.close()


def test_the_openapi_page_works_under_the_policy(page: Page) -> None:
    page.goto("/docs")
    expect(page.get_by_text("/api/leads/{lead_id}/claim")).to_be_visible()


def test_every_page_is_named_and_labelled(page: Page, db: Engine, world: World) -> None:
    """What a screen reader needs: one heading of the first level, landmarks, labelled fields."""
    with db.begin() as connection:
        run = data.run(connection, world.client)
        data.conflict(connection, world.client, world.leads[0], "notes", "a", "b")
        data.quarantine(connection, world.client, "rec" + "0".zfill(14), "notes", "x", "is odd")
    enter(page, "Ana Costa")
    for path in (
        "", "/leads", f"/leads/{world.leads[0]}", "/conflicts", "/quarantine", "/deletions",
        f"/runs/{run}",
    ):  # fmt: skip
        page.goto(f"/console{path}")
        assert page.locator("h1").count() == 1
        assert page.locator("main, nav[aria-label], header").count() >= 3
        assert page.locator("html[lang]").count() == 1
        nameless = page.evaluate(
            """() => [...document.querySelectorAll(
                "button, a, select, textarea, input:not([type=hidden])")]
                .filter(one => !(one.innerText || one.textContent || "").trim()
                    && !one.getAttribute("aria-label") && !(one.labels && one.labels.length))
                .map(one => one.outerHTML)"""
        )
        assert nameless == []
        unlabelled = page.evaluate(
            """() => [...document.querySelectorAll("select, textarea, input:not([type=hidden])")]
                .filter(one => !one.labels.length).map(one => one.outerHTML)"""
        )
        assert unlabelled == []
