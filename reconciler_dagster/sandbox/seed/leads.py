"""A client's lead base: the schema of real ones and n realistic leads, the same for a seed.

Only the times depend on when it is seeded: leads were created over the last 24 months.
"""

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

from reconciler_dagster.sandbox.clock import DAY, SECOND
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base, Person
from reconciler_dagster.sandbox.model.owner import connect
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.seed.making import WATCHED, field_of, made_table
from reconciler_dagster.sandbox.seed.people import STEMS, Lead
from reconciler_dagster.sandbox.seed.tables import add_tables

MONTHS = 24
HOUR = 3600 * SECOND

STAFF = ("Ann Keller", "Ben Ortiz", "Cleo Park")


def seed_leads(base_id: str, leads: int, seed: int, now: int) -> Base:
    """Return a base with the tables of a client: the leads, their campaigns, and around them texts,
    messages and the project. Times in milliseconds.
    """
    rng = random.Random(zlib.crc32(f"{base_id}/{seed}".encode()))
    base = Base(base_id, f"{rng.choice(STEMS)} Coaching")
    for name in STAFF:
        person = Person(new_id("usr", rng), f"{name.split()[0].lower()}@example.com", name)
        base.people[person.id] = person
    schema = json.loads(Path(__file__).with_name("leads_schema.json").read_text(encoding="utf-8"))
    table = made_table(schema["name"], schema["fields"], rng)
    campaigns = made_table("Campaigns", [{"name": "Campaign Name", "type": "singleLineText"}], rng)
    _link(table, field_of(table, "Linked Campaign"), campaigns, rng)
    base.tables = {table.id: table, campaigns.id: campaigns}
    campaign_choices = [
        choice["name"] for choice in field_of(table, "Campaign (CORRECTED)").choices
    ]
    campaigns.fill(_campaigns(campaigns, campaign_choices, rng, now, list(base.people)))
    by_name = {r.cells[campaigns.primary]: r.id for r in campaigns.records.values()}
    table.fill(_leads(table, leads, rng, now, list(base.people), by_name))
    _fill_inverse(table, campaigns)
    add_tables(base, now)
    return base


def _link(table: Table, field: Field, other: Table, rng: random.Random) -> None:
    inverse = Field(new_id("fld", rng), table.name, "multipleRecordLinks")
    connect(table, field, other, inverse)
    other.fields[inverse.id] = inverse
    other.schema_changed()


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
    watched = [field_of(table, name).id for name in WATCHED.values()]
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
    link = field_of(table, "Linked Campaign")
    inverse = link.options["inverseLinkFieldId"]
    linked: dict[str, list[str]] = {}
    for record in table.records.values():
        for campaign in record.cells.get(link.id, ()):
            linked.setdefault(campaign, []).append(record.id)
    for campaign, leads in linked.items():
        campaigns.records[campaign].cells[inverse] = leads
