"""Where a client's leads are in Airtable. What was agreed on counts there alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass


class PlaceChanged(Exception):
    """A client has another base or table than when the run began: run again."""


@dataclass(frozen=True)
class Place:
    """A base and a table, by id. ``base_id``: None where an earlier version did not note it."""

    base_id: str | None
    table_id: str


def moved(before: Place, now: Place) -> str | None:
    """What to tell a person where it is another place now; None where it is the same."""
    if before.base_id not in (None, now.base_id):
        what = f"This client's base is another one: {before.base_id} before, {now.base_id} now."
    elif before.table_id != now.table_id:
        what = f"The leads are in another table: {before.table_id} before, {now.table_id} now."
    else:
        return None
    return (
        f"{what} What was agreed on does not count there: both sides are compared as at first "
        "contact, Airtable's value wins where they differ, and the portal's is kept as a "
        "conflict. Leads that are not there stay active until a person decides."
    )
