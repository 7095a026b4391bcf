"""The tables around the leads: campaigns in full, their texts, what was sent, the project."""

import json
import random
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reconciler_dagster.sandbox.clock import DAY, SECOND, iso
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.seed.making import field_of, made_field, made_table

_PRIORITIES = ("🔴 Critical", "🟠 High", "🟡 Medium", "Low")
# What, how far, which priority, of what kind, by whom, in how many days.
_TASKS = (
    ("Write the first three texts", "Complete", 1, "Task", "Ann Keller", -9),
    ("Connect the booking page", "In Progress", 0, "Feature", "Ben Ortiz", 3),
    ("Short links lead nowhere on Sundays", "Blocked", 1, "Bug", "Cleo Park", 1),
    ("Describe what an opt-out does", "Not Started", 3, "Documentation", "Ann Keller", 14),
)
_BLOCKERS = (
    (
        "The carrier has not approved the sender",
        "🔴 Critical",
        "Waiting on Client",
        "Send the carrier the company's papers.",
    ),
    ("No texts for the webinar yet", "🟠 High", "Active", "Ask Ann for a draft by Friday."),
)
_STATUS = (("Phase", "Launch", "Phase"), ("Texts written", "3 of 5", "Milestone"))
_STEPS = ("Hi, it's Ann. Shall we talk?", "Did you see the worksheet?", "Last call for this week.")


def add_tables(base: Base, now: int) -> None:
    """Add them to a base that has leads and the names of their campaigns. Times in milliseconds.

    They have chances of their own: the leads of a seed stay as they are.
    """
    rng = random.Random(zlib.crc32(f"{base.id} tables".encode()))
    schema = json.loads(Path(__file__).with_name("tables_schema.json").read_text(encoding="utf-8"))
    by_name = {table.name: table for table in base.tables.values()}
    leads, campaigns = by_name["Leads"], by_name["Campaigns"]
    for entry in schema:
        if entry["name"] == campaigns.name:
            made = (made_field(one, rng) for one in entry["fields"])
            campaigns.fields |= {field.id: field for field in made}
            campaigns.schema_changed()
            continue
        table = made_table(entry["name"], entry["fields"], rng)
        base.tables[table.id] = by_name[table.name] = table
    _describe(campaigns, rng, now)
    names = [record.cells[campaigns.primary] for record in campaigns.records.values()]
    rows: dict[str, list[dict[str, Any]]] = {
        "Tasks": [
            {
                "Task": task,
                "Status": status,
                "Priority": _PRIORITIES[priority],
                "Type": kind,
                "Owner": owner,
                "Due Date": iso(now + days * DAY)[:10],
            }
            for task, status, priority, kind, owner, days in _TASKS
        ]
        + [{"Task": "Something that nobody has looked at"}],
        "Blockers": [
            dict(zip(("Blocker", "Severity", "Status", "Action to Resolve"), b, strict=True))
            for b in _BLOCKERS
        ],
        "Project_Status": [
            {"Metric": metric, "Value": value, "Category": category, "Display Order": number}
            for number, (metric, value, category) in enumerate(_STATUS)
        ],
        "SMS_Templates": [
            {
                "Campaign": name,
                "Campaign Tag": name,
                "Variant": variant,
                "Step": step,
                "Delay Days": 2 * step,
                "Body": body,
                "Active": True,
            }
            for name in names[:4]
            for variant in ("A", "B")
            for step, body in enumerate(_STEPS, 1)
        ],
        "SMS_Audit": _messages(leads, rng),
    }
    person = next(iter(base.people))
    for name, cells in rows.items():
        by_name[name].fill(_records(by_name[name], cells, rng, now, person))


def _describe(campaigns: Table, rng: random.Random, now: int) -> None:
    """The further cells of the campaigns; one of them is a webinar, and every fifth is paused."""
    ids = {field.name: field.id for field in campaigns.fields.values()}
    for number, record in enumerate(campaigns.records.values()):
        webinar = "Webinar" in record.cells[campaigns.primary]
        cells: dict[str, Any] = {
            "Campaign Type": "Webinar" if webinar else "Standard",
            "Form ID": f"form_{number + 1}",
            "Messages Sent": rng.randrange(400),
            "Total Leads " if number % 2 else "Total Leads": rng.randrange(1, 200),
        }
        if number % 5:
            cells["Active"] = True
        if webinar:
            cells["Webinar Datetime"] = iso((now + 7 * DAY) // SECOND * SECOND)
            cells["Zoom Link"] = "https://zoom.example/j/1"
        record.cells.update({ids[name]: cell for name, cell in cells.items()})


def _messages(leads: Table, rng: random.Random) -> list[dict[str, Any]]:
    """What was sent to the first leads that got a message."""
    sent, phone = field_of(leads, "SMS Last Sent At").id, field_of(leads, "Phone").id
    told = [r for r in leads.records.values() if sent in r.cells and phone in r.cells][:40]
    return [
        {
            "Event": "sms",
            "Phone": record.cells[phone],
            "Status": rng.choice(("Sent", "Delivered", "Delivered", "Undelivered")),
            "Carrier": "Example Mobile",
            "Lead Record ID": record.id,
            "Text": rng.choice(_STEPS),
            "Sent At": record.cells[sent],
        }
        for record in told
    ]


def _records(
    table: Table, rows: Iterable[dict[str, Any]], rng: random.Random, now: int, person: str
) -> Iterable[Record]:
    for cells in rows:
        created = (now - int(rng.random() * 90 * DAY) - DAY) // SECOND * SECOND
        by_id = {field_of(table, name).id: cell for name, cell in cells.items()}
        yield Record(new_id("rec", rng), created, created, person, person, by_id, {})
