"""The README's pictures, taken from a running demo: start `reconciler up` first, in a fresh state
(RECONCILER_STATE_DIR), and run `reconciler great-sync` beside it, with the same state.

    python scripts/screenshots.py [--portal URL] [--dagster URL] [--sandbox URL] [--into FOLDER]

It plays a short day on both sides, so that there is something to see: a claim, a note, edits of
both sides that collide, a value that the portal cannot take, and a token that is revoked for a
while.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from playwright.sync_api import Browser, Page, expect, sync_playwright

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster.sandbox.world import ALL_SCOPES

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
LARGE = {"width": 1440, "height": 1000}


@dataclass
class Demo:
    portal: str
    dagster: str
    sandbox: SandboxClient


def sign_in(browser: Browser, demo: Demo, name: str = "Ben Ortiz") -> Page:
    page = browser.new_context(base_url=demo.portal, viewport=SIZE).new_page()
    page.goto("/console")
    page.get_by_role("button", name=name).click()
    return page


def sync(page: Page) -> None:
    page.goto("/console")
    page.get_by_role("button", name="Manual Sync").click()
    expect(page.get_by_role("button", name="Syncing…")).to_be_visible()
    expect(page.get_by_role("button", name="Manual Sync")).to_be_visible()


def play(page: Page, sandbox: SandboxClient) -> str:
    """A short day; gives the address of the lead that most happened to."""
    sync(page)
    page.goto("/console/leads?sort=name")
    page.locator("#results tbody a").nth(3).click()
    lead = page.url
    record = page.locator("#sides-title ~ p code").inner_text()
    page.get_by_role("button", name="Claim", exact=True).click()
    page.get_by_label("New note").fill("Rang; wants an offer for two seats by Friday.")
    page.get_by_label("About").select_option("Call")
    page.get_by_role("button", name="Add note").click()
    sync(page)

    others = [key for key in sandbox.records() if key != record][:12]
    sandbox.edit_many({key: {"Job Title": "Head of Growth"} for key in others})
    sync(page)
    sandbox.edit(others[0], {"Claimed By": "somebody@elsewhere.example"})
    sandbox.edit(record, {"Processing Status": "Completed", "Company": "Harbour & Sons"})
    page.goto(lead)
    page.get_by_text("Remove from campaign").click()
    page.get_by_label("Reason").fill("Asked to stop")
    page.get_by_role("button", name="Remove").click()
    sync(page)
    sync(page)
    # Left waiting, so that the drift and the lead's page have something to tell.
    page.goto(lead)
    page.get_by_label("New note").fill("Offer sent.")
    page.get_by_label("About").select_option("Email")
    page.get_by_role("button", name="Add note").click()
    return lead


def shoot(page: Page, name: str, into: Path, *, full: bool = False) -> None:
    page.screenshot(path=into / f"{name}.png", full_page=full, animations="disabled")
    click.echo(into / f"{name}.png")


def console(page: Page, lead: str, into: Path) -> None:
    page.goto("/console")
    expect(page.get_by_text("on the way or in quarantine")).to_be_visible()
    shoot(page, "console-overview", into)
    page.goto(lead)
    shoot(page, "console-lead", into, full=True)
    for name in ("leads", "conflicts", "quarantine"):
        page.goto(f"/console/{name}")
        shoot(page, f"console-{name}", into)


def dagster(page: Page, address: str, into: Path) -> None:
    page.goto(f"{address}/locations/reconciler/asset-groups/leads/lineage")
    expect(page.get_by_text("reconciled_leads").last).to_be_visible()
    expect(page.get_by_text("Loading...")).to_have_count(0)
    page.wait_for_timeout(2000)  # the graph moves into place
    shoot(page, "dagster-assets", into)
    page.goto(f"{address}/runs")
    page.locator("a[href*='/runs/']:not([href*='?'])").first.click()
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
    page.reload()  # drawn anew, the steps are laid out over the whole width
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
    page.wait_for_timeout(2000)
    shoot(page, "dagster-run", into)
    page.goto(f"{address}/assets/reconciled_windows?view=partitions")
    expect(page.get_by_text("Missing (0)")).to_be_visible()  # after a Great Sync
    page.wait_for_timeout(4000)
    shoot(page, "dagster-great-sync", into)


def notices(page: Page, sandbox: SandboxClient, into: Path) -> None:
    """A revoked token is told of once it has stood for half a minute."""
    sandbox.accept_tokens({"patAnother00000000": ALL_SCOPES})
    sync(page)
    while not page.get_by_text("Airtable refuses the token").count():
        page.wait_for_timeout(5000)
        page.goto("/console/notices")
    shoot(page, "console-notices", into, full=True)
    sandbox.accept_tokens({DEMO_TOKEN: ALL_SCOPES})
    sync(page)


def grid(page: Page, address: str, into: Path) -> None:
    page.goto(address)
    expect(page.locator("#count")).to_contain_text("records")
    expect(page.locator("#entries > li").first).to_be_visible()
    shoot(page, "sandbox-grid", into)


@click.command(help=__doc__)
@click.option("--portal", default="http://127.0.0.1:8000", show_default=True)
@click.option("--dagster", "ui", default="http://127.0.0.1:3000", show_default=True)
@click.option("--sandbox", default="http://127.0.0.1:8765", show_default=True)
@click.option("--into", type=click.Path(path_type=Path), default=IMAGES, show_default=True)
def main(portal: str, ui: str, sandbox: str, into: Path) -> None:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        sys.exit("No Chromium found: set CHROMIUM to its path.")
    into.mkdir(parents=True, exist_ok=True)
    demo = Demo(portal, ui, SandboxClient(sandbox, DEMO_TOKEN, DEMO_BASE_ID))
    expect.set_options(timeout=120_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = sign_in(browser, demo)
        lead = play(page, demo.sandbox)
        console(page, lead, into)
        notices(sign_in(browser, demo, "Ann Keller"), demo.sandbox, into)
        elsewhere = browser.new_context(viewport=LARGE).new_page()
        grid(elsewhere, sandbox, into)
        dagster(elsewhere, ui, into)
        browser.close()


if __name__ == "__main__":
    main()
