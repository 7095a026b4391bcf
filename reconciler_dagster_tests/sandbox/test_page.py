"""The grid page in headless Chromium: what a person does there is what the API answers."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright
from pyairtable import Table

from reconciler_dagster.sandbox.testing import SandboxClient

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium is installed; set CHROMIUM to its path")
    return found


@pytest.fixture
def page(chromium: str, sandbox: SandboxClient) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda sent: wrong.extend(_elsewhere(sent.url, sandbox.url)))
        page.goto(sandbox.url)
        expect(page.locator("#count")).to_have_text("30 records")
        yield page
        browser.close()
    assert wrong == []


def _elsewhere(url: str, own: str) -> list[str]:
    return [] if url.startswith((own, "data:")) else [f"asked {url}"]


def _column(leads: Table, name: str) -> str:
    return f"[col-id='{leads.schema().field(name).id}']"


def test_an_edited_cell_shows_in_the_api(page: Page, leads: Table) -> None:
    record = leads.all()[0]
    cell = page.locator(f".ag-row[row-id='{record['id']}'] {_column(leads, 'Lead')}")
    cell.dblclick()
    page.keyboard.press("Control+A")
    page.keyboard.type("Edited by hand")
    page.keyboard.press("Enter")
    expect(page.locator("#entries")).to_contain_text("Edited by hand")
    after = leads.get(record["id"])
    assert after["fields"]["Lead"] == "Edited by hand"
    assert {**after["fields"], "Lead": ""} == {**record["fields"], "Lead": ""}


def test_a_select_is_edited(page: Page, leads: Table) -> None:
    record = leads.all()[0]
    cell = page.locator(f".ag-row[row-id='{record['id']}'] {_column(leads, 'Processing Status')}")
    cell.dblclick()
    page.locator(".ag-list-item", has_text="Stopped").click()
    expect(cell).to_have_text("Stopped")
    expect(page.locator("#entries")).to_contain_text("Stopped")
    assert leads.get(record["id"])["fields"]["Processing Status"] == "Stopped"


def test_a_field_named_before_the_fields_are_there_is_gone_to(page: Page, leads: Table) -> None:
    held: list[Route] = []
    page.route("**/fields", lambda route: held.append(route))
    page.reload()
    while not held:
        page.wait_for_timeout(20)
    page.get_by_label("Go to field").fill("Booked At")
    page.get_by_label("Go to field").press("Enter")
    held[0].continue_()
    record = leads.all()[0]
    cell = page.locator(f".ag-row[row-id='{record['id']}'] {_column(leads, 'Booked At')}")
    expect(cell).to_be_visible()
    expect(page.get_by_label("Go to field")).to_have_value("")


def test_a_refused_edit_is_told_and_taken_back(page: Page, leads: Table) -> None:
    record = leads.all()[0]
    page.get_by_label("Go to field").fill("Booked At")
    page.get_by_label("Go to field").press("Enter")
    cell = page.locator(f".ag-row[row-id='{record['id']}'] {_column(leads, 'Booked At')}")
    before = cell.text_content() or ""
    cell.dblclick()
    page.keyboard.press("Control+A")
    page.keyboard.type("some day")
    page.keyboard.press("Enter")
    told = page.get_by_role("status")
    expect(told).to_have_text('Field "Booked At" cannot accept the provided value')
    expect(cell).to_have_text(before)
    assert leads.get(record["id"]) == record


def test_add_delete_undo(page: Page, leads: Table) -> None:
    page.get_by_role("button", name="Add record").click()
    expect(page.locator("#count")).to_have_text("31 records")
    expect(page.locator(".ag-cell-inline-editing input")).to_be_focused()
    page.keyboard.type("Newcomer")
    page.keyboard.press("Enter")
    expect(page.locator("#entries")).to_contain_text("Newcomer")
    (added,) = leads.all(formula="{Lead} = 'Newcomer'")
    page.locator(f".ag-row[row-id='{added['id']}'] .ag-selection-checkbox").first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#count")).to_have_text("30 records")
    assert leads.all(formula="{Lead} = 'Newcomer'") == []
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#count")).to_have_text("31 records")
    assert leads.get(added["id"])["fields"]["Lead"] == "Newcomer"


def test_what_the_api_writes_shows_in_the_grid(page: Page, leads: Table) -> None:
    record = leads.all()[0]
    leads.update(record["id"], {"Lead": "By the API"})
    cell = page.locator(f".ag-row[row-id='{record['id']}'] {_column(leads, 'Lead')}")
    expect(cell).to_have_text("By the API")
    entry = page.locator("#entries > li").first
    expect(entry).to_contain_text("API user")
    expect(entry.locator(".source")).to_have_text("API")


def test_sort_filter_and_search(page: Page, leads: Table) -> None:
    names = sorted((record["fields"]["Lead"] for record in leads.all()), reverse=True)
    header = page.locator(f".ag-header-cell{_column(leads, 'Lead')} .ag-header-cell-label")
    header.click()
    header.click()
    first = page.locator(f".ag-row[row-index='0'] {_column(leads, 'Lead')}")
    expect(first).to_have_text(names[0])
    page.get_by_label("Search all cells").fill(names[-1])
    expect(first).to_have_text(names[-1])
    page.get_by_label("Search all cells").fill("")
    page.locator(".ag-floating-filter-input input").first.fill(names[-1])
    expect(first).to_have_text(names[-1])
    expect(page.locator("#count")).to_contain_text("of 30 records")
