"""Cells that mean something only together, like a claim: who holds a lead, and since when. Pure.

The second says nothing without the first: without a holder there is no claim, whatever time is
left of one. They are taken together, and where one is refused the other waits with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.values import Value


def as_one(row: dict[str, Value], problems: dict[str, str], fields: FieldMap) -> None:
    """Make a row that was read one in which no such cell stands alone."""
    for mapped in fields.dependent:
        first = fields[mapped.of or ""]
        if first.column in row and row[first.column] == first.codec.blank:
            problems.pop(mapped.column, None)
            row[mapped.column] = mapped.codec.blank
    if problems:
        for column, why in waiting(problems, row, fields).items():
            del row[column]
            problems[column] = why


def waiting(refused: Collection[str], present: Collection[str], fields: FieldMap) -> dict[str, str]:
    """Cells that wait with those that are refused: column to why."""
    return {
        partner: f"{fields[partner].airtable} waits for {fields[column].airtable}, with which it "
        "is carried over"
        for column in refused
        for partner in fields.partners(column)
        if partner in present and partner not in refused
    }


def follow(
    change: LeadChange,
    remote: Mapping[str, Value],
    local: Mapping[str, Value],
    lead: Mapping[str, Any],
    fields: FieldMap,
) -> None:
    """Have the second cell of each go the way of the first, so that no claim is half of one
    person's and half of another's. ``lead``: the row as it is, which may hold what is left of an
    earlier claim: it must not come to life with the next one.
    """
    for mapped in fields.dependent:
        column, first = mapped.column, mapped.of
        if column not in remote or column not in local:
            continue
        there, here = remote[column], local[column]
        if first in change.to_postgres:
            change.to_airtable.pop(column, None)
            if there != here or (there == mapped.codec.blank and lead.get(column) is not None):
                change.to_postgres[column], change.old[column] = there, here
                _lose_with(change, first, column, there, here, mapped.codec.blank)
        elif first in change.to_airtable:
            change.to_postgres.pop(column, None)
            change.conflicts = [c for c in change.conflicts if c["field"] != column]
            if there != here:
                change.to_airtable[column], change.old[column] = here, there


def _lose_with(
    change: LeadChange, first: str, column: str, there: Value, here: Value, blank: Value
) -> None:
    """What loses with the first cell is kept as that is."""
    lost = {conflict["field"]: conflict for conflict in change.conflicts}
    if first in lost and column not in lost and here != blank:
        kept = {"field": column, "baseline": None, "winning": there, "losing": here}
        change.conflicts.append(lost[first] | kept)
