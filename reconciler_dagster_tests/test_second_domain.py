"""docs/a-second-domain.md, run as it stands: its tables, its files, its settings, its commands."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox
from reconciler_dagster_tests.program import reconciler

PAGE = (Path(__file__).parents[1] / "docs" / "a-second-domain.md").read_text()
TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "singleLineText"},
    "e-mail": {"type": "email"},
    "rating": {"type": "rating", "options": {"max": 5, "icon": "star", "color": "yellowBright"}},
    "currency": {"type": "currency", "options": {"precision": 2, "symbol": "$"}},
    "percent": {"type": "percent", "options": {"precision": 2}},
    "date": {
        "type": "date",
        "options": {"dateFormat": {"name": "iso", "format": "YYYY-MM-DD"}},
    },
}
SELECTS = {"single select": "singleSelect", "multiple select": "multipleSelects"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def make_base(sandbox: SandboxClient) -> None:
    """The tables of the page's list, in its order."""
    rows = re.findall(r"^\| (\w+) \| ([\w -]+) \| ([\w -]+?)(?:: (.*))? \|$", PAGE, re.MULTILINE)
    ids: dict[str, str] = {}
    for table, field, kind, choices in rows[1:]:
        if kind in SELECTS:
            options = {"choices": [{"name": name} for name in choices.split(", ")]}
            said: dict[str, Any] = {"type": SELECTS[kind], "options": options}
        elif kind.startswith("link to "):
            linked = {"linkedTableId": ids[kind.removeprefix("link to ")]}
            said = {"type": "multipleRecordLinks", "options": linked}
        else:
            said = TYPES[kind]
        if table in ids:
            sandbox.on(table=table).create_field(field, said["type"], said.get("options"))
        else:
            ids[table] = sandbox.create_table(table, [{"name": field, **said}])


class Page:
    """The page at work."""

    def __init__(self, sandbox: SandboxClient, url: str, folder: Path) -> None:
        self.sandbox, self.folder, self.engine = sandbox, folder, engine(url)
        own = {
            "AIRTABLE_API_KEY": sandbox.token,
            "AIRTABLE_ENDPOINT_URL": sandbox.url,
            "DATABASE_URL": url,
            "RECONCILER_STATE_DIR": str(folder / "state"),
        }
        settings, self.first, self.then = blocks("sh")
        said = dict(re.findall(r'^export (\w+)="?([^"\n]*)"?$', settings, re.MULTILINE))
        said = {
            name: value.replace("appAAAAAAAAAAAAAA", sandbox.base_id)
            for name, value in said.items()
        }
        self.env = os.environ | said | own
        for block in blocks("yaml"):
            path = folder / block.partition("\n")[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(block)
        for statement in blocks("sql"):
            self.sql(statement)

    def sql(self, statement: str, **parameters: Any) -> Any:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return result.all() if result.returns_rows else None

    def row(self, table: str, record_id: str) -> dict[str, Any]:
        query = f"SELECT to_jsonb(r) FROM crm.{table} r WHERE airtable_record_id = :id"  # noqa: S608
        return dict(self.sql(query, id=record_id)[0][0])

    def call(self, line: str, code: int = 0) -> str:
        done = reconciler(*shlex.split(line)[1:], env=self.env, cwd=self.folder)
        assert done.returncode == code, f"{line}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def page(empty_db: str, tmp_path: Path) -> Iterator[Page]:
    with running_sandbox(leads=1) as sandbox:
        make_base(sandbox)
        here = Page(sandbox, empty_db, tmp_path)
        yield here
        here.engine.dispose()


def test_the_page_does_what_it_says(page: Page) -> None:
    companies, contacts, deals = (
        page.sandbox.on(table=name) for name in ("Companies", "Contacts", "Deals")
    )
    acme = companies.add({"Name": "Acme", "Sectors": ["retail", "energy"], "Rating": 4})
    ann = contacts.add({"Name": "Ann", "E-mail": "ann@acme.example", "Company": [acme]})
    companies.edit(acme, {"Main contact": [ann]})
    deal = deals.add(
        {
            "Title": "Roof",
            "Amount": 1234.56,
            "Chance": 0.75,
            "Stage": "Open",
            "Closes on": "2026-12-24",
            "Company": [acme],
            "Contacts": [ann],
        }
    )

    told = {line: page.call(line) for line in page.first.splitlines()}

    assert "companies, contacts, deals" in told["reconciler map check crm"]
    dry = told["reconciler migrate --dry-run"]
    assert "Nothing else is made: the clients come from RECONCILER_CLIENTS." in dry
    assert "Triggers are put on crm.deals." in dry
    assert "contact_ids" in told["reconciler map show"]
    assert "Nothing was written" in told["reconciler adopt"]
    tables = page.sql(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    assert tables == [], "none of a portal's tables is made"
    firm, person, row = (
        page.row("companies", acme),
        page.row("contacts", ann),
        page.row("deals", deal),
    )
    assert (firm["sectors"], firm["rating"]) == (["energy", "retail"], 4)
    assert (firm["main_contact_id"], person["company_id"]) == (person["id"], firm["id"])
    assert (row["amount"], row["chance"], row["stage"]) == (1234.56, 0.75, "Open")
    assert (row["closes_on"], row["company_id"]) == ("2026-12-24", firm["id"])
    assert row["contact_ids"] == [person["id"]]

    bob = contacts.add({"Name": "Bob", "Company": [acme]})
    deals.edit(deal, {"Stage": "Won", "Contacts": [ann, bob]})
    page.sql(
        "UPDATE crm.companies SET sectors = '{health}', rating = 5; "
        "UPDATE crm.deals SET amount = 0.1, company_id = NULL; "
        "UPDATE crm.contacts SET email = 'ann@new.example' WHERE name = 'Ann'"
    )
    answers = {line: page.call(line) for line in page.then.splitlines()}
    there = deals.record(deal)["fields"]
    assert (there["Amount"], there.get("Company"), there["Stage"]) == (0.1, None, "Won")
    assert companies.record(acme)["fields"]["Sectors"] == ["health"]
    assert companies.record(acme)["fields"]["Rating"] == 5
    assert contacts.record(ann)["fields"]["E-mail"] == "ann@new.example"
    people = {page.row("contacts", one)["id"] for one in (ann, bob)}
    assert set(page.row("deals", deal)["contact_ids"]) == people
    assert "contacts: 2 in Airtable, 2 active in Postgres" in answers["reconciler status"]

    page.sql(
        "UPDATE crm.deals SET contact_ids = ARRAY[(SELECT id FROM crm.contacts WHERE name = 'Bob')]"
    )
    companies.edit(acme, {"Main contact": [bob]})
    deals.create_field("Note", "multilineText")
    page.sql("ALTER TABLE crm.deals ADD COLUMN note text")
    deals.edit(deal, {"Note": "hello"})
    with (page.folder / "crm" / "deals.yaml").open("a") as file:
        file.write("  note: {from: Note, edited: both}\n")
    page.call("reconciler run")
    assert deals.record(deal)["fields"]["Contacts"] == [bob]
    assert page.row("companies", acme)["main_contact_id"] == page.row("contacts", bob)["id"]
    assert page.row("deals", deal)["note"] == "hello"

    quiet = json.loads(page.call("reconciler run --json"))["clients"][0]
    assert quiet["airtable_calls"] == 3, "one call a sync"
    assert (quiet["local_writes"], quiet["remote_writes"]) == (0, 0)
    status = json.loads(page.call("reconciler status --json"))["clients"][0]
    assert set(status["syncs"]) == {"companies", "contacts", "deals"}
    assert status["attention"] == []
    for command in ("quarantine list", "deletions list", f"history {deal}", "audit", "great-sync"):
        page.call(f"reconciler {command}")
