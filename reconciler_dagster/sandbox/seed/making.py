"""Tables of a seeded base, made from a short description of their fields."""

import random
from typing import Any

from reconciler_dagster.sandbox.ids import new_id
from reconciler_dagster.sandbox.model.definition import complete_options, set_formula
from reconciler_dagster.sandbox.model.schema import Field, View
from reconciler_dagster.sandbox.model.table import Table

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


def made_table(name: str, fields: list[dict[str, Any]], rng: random.Random) -> Table:
    """A table of fields, the first of which is its primary one."""
    made = {(field := made_field(entry, rng)).id: field for entry in fields}
    table = Table(
        id=new_id("tbl", rng),
        name=name,
        fields=made,
        views=[View(new_id("viw", rng), "Grid view")],
        primary=next(iter(made)),
    )
    for title, watched in WATCHED.items():
        if (found := table.find(title)) is not None:
            found.options["referencedFieldIds"] = [field_of(table, watched).id]
    for title in FORMULAS:
        if (found := table.find(title)) is not None:
            set_formula(table, found, FORMULAS[title])
    return table


def made_field(entry: dict[str, Any], rng: random.Random) -> Field:
    """A field of its name, type, choices and precision."""
    kind, given = entry["type"], {}
    if "choices" in entry:
        given["choices"] = [{"id": new_id("sel", rng), "name": name} for name in entry["choices"]]
    if "precision" in entry:
        given["precision"] = entry["precision"]
    return Field(new_id("fld", rng), entry["name"], kind, complete_options(kind, given))


def field_of(table: Table, name: str) -> Field:
    """The field of that name. KeyError where there is none."""
    found = table.find(name)
    if found is None:
        raise KeyError(name)
    return found
