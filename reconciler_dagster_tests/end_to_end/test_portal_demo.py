"""The whole demo, as a person in a browser: console and sandbox grid, with Dagster in between."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from reconciler_dagster_tests.end_to_end.conftest import CEILING, Demo, until

expect.set_options(timeout=CEILING * 1000)


@pytest.fixture
def page(demo: Demo) -> Iterator[Page]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(base_url=demo.portal, viewport={"width": 1500, "height": 900})
        context.set_default_timeout(CEILING * 1000)
        yield context.new_page()
        browser.close()


# A run that one of these starts between two edits would settle the first before the second is made.
OPEN_REQUESTS = (
    "SELECT count(*) FROM reconciler.manual_sync_request WHERE state IN ('pending', 'started')"
)

# A lead for which everything that the test does is a change.
UNTOUCHED = """
    SELECT id FROM leads WHERE is_active AND claimed_by IS NULL AND NOT sms_stop
    AND processing_status = 'Backlog' LIMIT 1
"""


class Grid:
    """One lead in the sandbox's grid, as a person of the base's owner sees and edits it."""

    def __init__(self, demo: Demo, tab: Page, record: str) -> None:
        self._tab, self._record = tab, record
        self._columns = {field["name"]: field["id"] for field in demo.sandbox.fields()}
        tab.goto(demo.sandbox.url)
        tab.get_by_label("Search all cells").fill(demo.cells(record)["Email"])

    def cell(self, field: str) -> Locator:
        """The cell, scrolled to."""
        where = self._tab.get_by_label("Go to field")
        where.fill(field)
        where.press("Enter")
        return self._tab.locator(
            f".ag-row[row-id='{self._record}'] [col-id='{self._columns[field]}']"
        )

    def type(self, field: str, value: str) -> None:
        """Edit a text cell."""
        self.cell(field).dblclick()
        self._tab.keyboard.press("Control+A")
        self._tab.keyboard.type(value)
        self._tab.keyboard.press("Enter")
        expect(self._tab.locator("#entries")).to_contain_text(value)

    def choose(self, field: str, option: str) -> None:
        """Edit a select."""
        self.cell(field).dblclick()
        self._tab.locator(".ag-list-item").get_by_text(option, exact=True).click()
        expect(self.cell(field)).to_have_text(option)
        expect(self._tab.locator("#entries")).to_contain_text(option)


def away_from_the_schedule() -> None:
    """A scheduled run between two edits would settle the first before the second is made."""
    while datetime.now().minute % 15 == 14 or (
        datetime.now().minute % 15 == 0 and datetime.now().second < 45
    ):
        time.sleep(1)


def sync(page: Page) -> None:
    """Press Manual Sync and watch it succeed."""
    page.goto("/console")
    page.get_by_role("button", name="Manual Sync").click()
    expect(page.get_by_role("button", name="Syncing…")).to_be_visible()
    expect(page.get_by_role("button", name="Manual Sync")).to_be_visible()
    expect(page.locator("#sync .progress.succeeded")).to_be_visible()


def test_a_person_on_both_sides(
    demo: Demo, page: Page, record_testsuite_property: Callable[[str, object], None]
) -> None:
    page.goto("/console")
    page.get_by_role("button", name="Ben Ortiz").click()
    sync(page)
    expect(page.get_by_text("Every field of every row is as it was last agreed.")).to_be_visible()
    agreement = page.get_by_role("region", name="Agreement, table")
    expect(agreement.get_by_role("row", name="Campaigns")).to_contain_text("18")

    # Claim a lead and write a note.
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Leads").click()
    expect(page.locator("#results tbody a").first).to_be_visible()
    lead = f"/console/leads/{demo.sql(UNTOUCHED)[0][0]}"
    page.goto(lead)
    name = page.locator("h1").inner_text().split("\n")[0].removesuffix(" in step")
    record = page.locator("#sides-title ~ p code").inner_text()
    page.get_by_role("button", name="Claim", exact=True).click()
    page.get_by_label("New note").fill("Rang; wants an offer.")
    page.get_by_role("button", name="Add note").click()
    expect(page.get_by_text("Ben Ortiz: Rang; wants an offer.")).to_be_visible()
    expect(page.get_by_text("waiting to be sent")).to_be_visible()

    # Press Manual Sync, and see both in Airtable.
    page.goto("/console")
    press = time.monotonic()
    page.get_by_role("button", name="Manual Sync").click()
    until(lambda: demo.cells(record).get("Claimed By") == "ben@example.com")
    until(lambda: "Rang; wants an offer." in demo.cells(record).get("Notes", ""))
    record_testsuite_property("press_to_airtable_seconds", round(time.monotonic() - press, 1))
    grid = Grid(demo, page.context.new_page(), record)
    expect(grid.cell("Claimed By")).to_have_text("ben@example.com")
    expect(grid.cell("Notes")).to_contain_text("Ben Ortiz: Rang; wants an offer.")
    expect(page.locator("#sync .progress.succeeded")).to_be_visible()
    page.goto(lead)
    expect(page.get_by_text("in step")).to_be_visible()

    # Edit the lead in the grid, and see it in the console.
    grid.type("Company", "Renamed in the grid")
    sync(page)
    page.goto(lead)
    expect(page.get_by_role("row", name="Company").first).to_contain_text("Renamed in the grid")

    # Both sides edit one field: Airtable wins, and the loser is taken back.
    away_from_the_schedule()
    until(lambda: demo.sql(OPEN_REQUESTS) == [(0,)])
    grid.choose("Processing Status", "Completed")
    page.get_by_text("Remove from campaign").click()
    page.get_by_label("Reason").fill("Asked to stop")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Out of the campaign")).to_be_visible()
    # The removal has asked for a sync by itself.
    expect(grid.cell("SMS Stop Reason")).to_have_text("Asked to stop")
    expect(grid.cell("Processing Status")).to_have_text("Completed")
    sync(page)
    page.get_by_role("link", name="Conflicts").click()
    page.get_by_role(
        "button", name=f"Take back the losing value of Processing Status, {name}"
    ).click()
    expect(page.get_by_text("taken back", exact=True)).to_be_visible()
    sync(page)
    expect(grid.cell("Processing Status")).to_have_text("Stopped")
    page.goto(lead)
    row = page.get_by_role("row", name="Processing Status")
    expect(row.get_by_role("cell").nth(0)).to_have_text("Stopped")
    expect(row.get_by_role("cell").nth(2)).to_have_text("Stopped")
    row.get_by_text(re.compile(r"\d changes?")).click()
    expect(row.get_by_text("written in Airtable").first).to_be_visible()


def test_a_campaign_is_edited_on_both_sides(demo: Demo, page: Page) -> None:
    page.goto("/console")
    page.get_by_role("button", name="Ben Ortiz").click()
    sync(page)
    campaigns = demo.sandbox.on(table="Campaigns")
    record, cells = min(campaigns.records().items())
    name = cells["fields"]["Campaign Name"]
    campaigns.edit(record, {"Resource Name": "A worksheet"})
    demo.sql("UPDATE campaigns SET zoom_link = 'https://z.test/1' WHERE airtable_record_id = %s",
             record)  # fmt: skip
    sync(page)
    assert campaigns.record(record)["fields"]["Zoom Link"] == "https://z.test/1"
    page.get_by_role("link", name="Tables").click()
    page.get_by_role("navigation", name="Tables").get_by_role("link", name="Campaigns").click()
    expect(
        page.get_by_text("Every field of every campaign is as it was last agreed.")
    ).to_be_visible()
    changes = page.get_by_role("region", name="Changes, table")
    expect(changes.get_by_role("row", name="Resource Name").first).to_contain_text("A worksheet")
    expect(changes.get_by_role("row", name="Zoom Link").first).to_contain_text("Airtable")
    changes.get_by_role("link", name=name).first.click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_role("row", name="Zoom Link")).to_contain_text("https://z.test/1")


def test_links_lead_into_dagster(demo: Demo, page: Page) -> None:
    page.goto("/console")
    page.get_by_role("button", name="Ann Keller").click()
    sync(page)
    page.locator("#sync").get_by_role("link", name="In Dagster").click()
    expect(page).to_have_url(re.compile(re.escape(demo.dagster) + "/runs/"))
    expect(page.get_by_text("Success").first).to_be_visible()
