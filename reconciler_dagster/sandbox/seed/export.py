"""A base from an export of a real one's schema, filled with made-up cells by type.

The export is what `GET /v0/meta/bases/{base}/tables` answers, with the base's `name` beside the
tables if it is known; ids are kept.
"""

import random
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler_dagster.sandbox.clock import DAY, SECOND, iso
from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.base import Base, Person
from reconciler_dagster.sandbox.model.schema import COMPUTED, WRITABLE, Field, View
from reconciler_dagster.sandbox.model.table import Record, Table

FILLED = 0.7
"""Share of the cells that are not empty."""


def seed_export(base_id: str, export: Mapping[str, Any], records: int, seed: int, now: int) -> Base:
    """Return a base with the exported tables and `records` records in each.

    It keeps the `name` that the export has beside its tables. Links stay empty. Times in
    milliseconds. Raises ValueError for an export that is none.
    """
    rng = random.Random(zlib.crc32(f"{base_id}/{seed}".encode()))
    if not isinstance(export, Mapping):
        raise ValueError("This is no export of a base's schema: it is no JSON object.")
    name = export.get("name") or f"Import {base_id[-4:]}"
    if not isinstance(name, str):
        raise ValueError(f"The name of an exported base is a text, not {name!r}.")
    base = Base(base_id, name)
    person = Person(new_id("usr", rng), "ann@example.com", "Ann Keller")
    base.people[person.id] = person
    try:
        for entry in export["tables"]:
            table = _table(entry)
            base.tables[table.id] = table
            table.fill(_records(table, records, rng, now, person.id))
            table.next_number = records + 1
    except (KeyError, TypeError) as error:
        raise ValueError(f"This is no export of a base's schema: {error!r}") from None
    return base


def _table(entry: dict[str, Any]) -> Table:
    fields = {
        one["id"]: Field(
            one["id"], one["name"], one["type"], one.get("options") or {}, one.get("description")
        )
        for one in entry["fields"]
    }
    for field in fields.values():
        if field.type not in WRITABLE | COMPUTED:
            raise ValueError(f"There is no field type {field.type!r}.")
    views = [View(one["id"], one["name"], one["type"]) for one in entry.get("views", ())]
    return Table(
        entry["id"], entry["name"], fields, views, entry["primaryFieldId"], entry.get("description")
    )


def _records(
    table: Table, count: int, rng: random.Random, now: int, person: str
) -> Iterator[Record]:
    for index in range(count):
        created = (now - int(rng.random() * 700 * DAY)) // SECOND * SECOND
        modified = (created + int(rng.random() * (now - created))) // SECOND * SECOND
        cells: dict[str, Any] = {}
        for field in table.fields.values():
            if field.id == table.primary or rng.random() < FILLED:
                cell = _cell(field, index, rng, created)
                if cell is not None:
                    cells[field.id] = cell
        touched = dict.fromkeys(cells, modified)
        yield Record(new_id("rec", rng), created, modified, person, person, cells, touched)


def _cell(field: Field, index: int, rng: random.Random, created: int) -> Any:
    number = rng.randrange(1000)
    match field.type:
        case "singleLineText" | "multilineText":
            return f"{field.name.strip()} {index + 1}"
        case "richText":
            return f"{field.name.strip()} {index + 1}\n"
        case "email":
            return f"person{index + 1}@example.com"
        case "phoneNumber":
            return f"+1555{index:07d}"
        case "url":
            return f"https://example.com/{index + 1}"
        case "number" | "currency" | "duration":
            return number
        case "percent":
            return number / 1000
        case "rating":
            return number % int(field.options.get("max", 5)) + 1
        case "checkbox":
            return True
        case "date":
            return iso(created)[:10]
        case "dateTime":
            return iso(created)
        case "autoNumber":
            return index + 1
        case "singleSelect" if field.choices:
            return rng.choice(field.choices)["name"]
        case "multipleSelects" if field.choices:
            return [rng.choice(field.choices)["name"]]
    return None
