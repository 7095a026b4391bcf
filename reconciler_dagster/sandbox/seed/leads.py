"""A client's lead base: the schema of real ones and n realistic leads, the same for a seed.

Only the times depend on when it is seeded: leads were created over the last 24 months.
"""

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler_dagster.sandbox.clock import DAY, SECOND
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base, Person
from reconciler_dagster.sandbox.model.definition import complete_options, set_formula
from reconciler_dagster.sandbox.model.owner import connect
from reconciler_dagster.sandbox.model.schema import Field, View
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.seed.people import STEMS, Lead

MONTHS = 24
HOUR = 3600 * SECOND

FORMULAS = {
    "ICP Score": "SUM({Company Score Component}, {Role Score Component}, "
    "{Location Score Component}, {Dynamic Signals Score}, IF({Prime Fit Bonus}, 10, 0))",
    "Location Score Component": "SWITCH({Location Country}, 'United States', 20, "
    "'Canada', 15, 'United Kingdom', 15, BLANK(), 0, 5)",
    "SMS Eligible": "IF(AND({Phone Valid}, {Phone} != BLANK(), NOT({SMS Stop}), "
    "NOT({Booked})), 1, 0)",
    "Record ID": "RECORD_ID()",
}
WATCHED = {
    "⚠️ Last Updated Auto": "Processing Status",
    "Enrichment Attempted At": "Enrichment Outcome",
}
STAFF = ("Ann Keller", "Ben Ortiz", "Cleo Park")


def seed_leads(base_id: str, leads: int, seed: int, now: int) -> Base:
    """Return a base with the tables Leads and Campaigns. Times in milliseconds."""
    rng = random.Random(zlib.crc32(f"{base_id}/{seed}".encode()))
    base = Base(base_id, f"{rng.choice(STEMS)} Coaching")
    for name in STAFF:
        person = Person(new_id("usr", rng), f"{name.split()[0].lower()}@example.com", name)
        base.people[person.id] = person
    schema = json.loads(Path(__file__).with_name("leads_schema.json").read_text(encoding="utf-8"))
    table = _table(schema["name"], schema["fields"], rng)
    campaigns = _table("Campaigns", [{"name": "Name", "type": "singleLineText"}], rng)
    _link(table, _field(table, "Linked Campaign"), campaigns, rng)
    base.tables = {table.id: table, campaigns.id: campaigns}
    campaign_choices = [choice["name"] for choice in _field(table, "Campaign (CORRECTED)").choices]
    campaigns.fill(_campaigns(campaigns, campaign_choices, rng, now, list(base.people)))
    by_name = {r.cells[campaigns.primary]: r.id for r in campaigns.records.values()}
    table.fill(_leads(table, leads, rng, now, list(base.people), by_name))
    _fill_inverse(table, campaigns)
    return base


def _table(name: str, fields: list[dict[str, Any]], rng: random.Random) -> Table:
    made = {(field := _made(entry, rng)).id: field for entry in fields}
    table = Table(
        id=new_id("tbl", rng),
        name=name,
        fields=made,
        views=[View(new_id("viw", rng), "Grid view")],
        primary=next(iter(made)),
    )
    for title, watched in WATCHED.items():
        if (found := table.find(title)) is not None:
            found.options["referencedFieldIds"] = [_field(table, watched).id]
    for title in FORMULAS:
        if (found := table.find(title)) is not None:
            set_formula(table, found, FORMULAS[title])
    return table


def _made(entry: dict[str, Any], rng: random.Random) -> Field:
    kind, given = entry["type"], {}
    if "choices" in entry:
        given["choices"] = [{"id": new_id("sel", rng), "name": name} for name in entry["choices"]]
    if "precision" in entry:
        given["precision"] = entry["precision"]
    return Field(new_id("fld", rng), entry["name"], kind, complete_options(kind, given))


def _link(table: Table, field: Field, other: Table, rng: random.Random) -> None:
    inverse = Field(new_id("fld", rng), table.name, "multipleRecordLinks")
    connect(table, field, other, inverse)
    other.fields[inverse.id] = inverse
    other.schema_changed()


def _field(table: Table, name: str) -> Field:
    found = table.find(name)
    if found is None:
        raise KeyError(name)
    return found


def _campaigns(
    table: Table, names: list[str], rng: random.Random, now: int, people: list[str]
) -> Iterator[Record]:
    for name in names:
        time = (now - MONTHS * 30 * DAY) // SECOND * SECOND
        yield Record(
            new_id("rec", rng), time, time, people[0], people[0], {table.primary: name}, {}
        )


def _leads(
    table: Table,
    count: int,
    rng: random.Random,
    now: int,
    people: list[str],
    campaigns: dict[str, str],
) -> Iterator[Record]:
    ids = {field.name: field.id for field in table.fields.values()}
    choices = {
        field.name: [choice["name"] for choice in field.choices]
        for field in table.fields.values()
        if field.type == "singleSelect"
    }
    watched = [_field(table, name).id for name in WATCHED.values()]
    span = MONTHS * 30 * DAY
    latest = now - 3 * HOUR
    for index in range(count):
        created = (latest - int(rng.random() * span)) // SECOND * SECOND
        # Most leads were last touched soon after they came in, some much later.
        later = rng.random() ** 4 * (latest - created)
        modified = (created + int(later)) // SECOND * SECOND
        lead = Lead(rng, index, created, modified, choices, campaigns).cells()
        cells = {ids[name]: value for name, value in lead.items()}
        touched = {
            field_id: (created + int(rng.random() * (modified - created))) // SECOND * SECOND
            for field_id in watched
            if field_id in cells
        }
        editor = rng.choice(people)
        yield Record(new_id("rec", rng), created, modified, people[0], editor, cells, touched)


def _fill_inverse(table: Table, campaigns: Table) -> None:
    link = _field(table, "Linked Campaign")
    inverse = link.options["inverseLinkFieldId"]
    linked: dict[str, list[str]] = {}
    for record in table.records.values():
        for campaign in record.cells.get(link.id, ()):
            linked.setdefault(campaign, []).append(record.id)
    for campaign, leads in linked.items():
        campaigns.records[campaign].cells[inverse] = leads
