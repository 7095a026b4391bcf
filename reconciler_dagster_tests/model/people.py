"""What people do, on either side, and what a look at a cell shows. Knows nothing of the engine.

Values are plain and made from a counter, so that a value says who wrote it and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

from reconciler_dagster_tests.world import ANN, BOB, World

Side = Literal["airtable", "portal"]
Kind = Literal["new", "clear", "same", "first", "bad", "top", "rewrite"]


@dataclass(frozen=True)
class Field:
    """A field under test. ``both``: people edit it on either side by right. ``default``: what the
    portal's column holds of a new lead where nobody says what.
    """

    column: str
    airtable: str
    both: bool
    blank: Any = None
    default: Any = None


FIELDS = {
    field.column: field
    for field in (
        Field("hrq_status", "HRQ Status", True, default="None"),
        Field("sms_stop_reason", "SMS Stop Reason", True),
        Field("claimed_by", "Claimed By", True),
        Field("sms_stop", "SMS Stop", True, False),
        Field("notes", "Notes", True),
        Field("company", "Company", False),
        Field("sms_sent_count", "SMS Sent Count", False),
        Field("first_name", "First Name", False, "Unknown"),
        Field("phone", "Phone", False),
    )
}
OPTIONS = ("None", "Archive", "Qualified", "Manual Process", "Review")
# An option of HRQ Status that the portal's database refuses.
BARRED = "bad option"
DAWN = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Act:
    """One person's act on one cell. ``lead``: which one, counted round.

    ``same``: take over what the other side holds. ``first``: what was agreed on last. ``bad``:
    something that the other side cannot take. ``top`` and ``rewrite`` are for notes.
    """

    lead: int
    side: Side
    column: str
    kind: Kind


def new_value(column: str, number: int) -> Any:
    """A value that both sides can hold."""
    match column:
        case "hrq_status":
            return OPTIONS[number % len(OPTIONS)]
        case "claimed_by":
            return (ANN, BOB)[number % 2]
        case "sms_stop":
            return bool(number % 2)
        case "sms_sent_count":
            return number
        case _:
            return f"v{number}"


def bad_value(side: Side, column: str, number: int) -> Any:
    """A value that the other side refuses; None where there is none."""
    return {
        ("portal", "hrq_status"): f"bad{number}",
        ("airtable", "claimed_by"): f"bad{number}@nowhere.example",
        ("airtable", "phone"): "9" * 21 + str(number),
        ("airtable", "company"): f"bad{number}",
        ("airtable", "hrq_status"): BARRED,
    }.get((side, column))


def is_bad(value: Any) -> bool:
    """Whether the other side refuses it."""
    return isinstance(value, str) and (value.startswith("bad") or value.startswith("9" * 21))


def write(world: World, side: Side, record_id: str, column: str, value: Any) -> None:
    """Carry an act out."""
    if side == "airtable":
        world.sandbox.edit(record_id, in_airtable(column, value))
    else:
        world.update(record_id, **in_portal(world, column, value))


def in_airtable(column: str, value: Any) -> dict[str, Any]:
    """The cells that people write for a value: a claim comes with its time, and goes with it."""
    cells = {FIELDS[column].airtable: value}
    return cells | {"Claimed At": claim_time(value)} if column == "claimed_by" else cells


def in_portal(world: World, column: str, value: Any) -> dict[str, Any]:
    """The columns that people write for it."""
    columns = {column: to_portal(world, column, value)}
    return columns | {"claimed_at": claim_time(value)} if column == "claimed_by" else columns


_CLAIMS = count()


def claim_time(holder: str | None) -> str | None:
    """A time of its own for every claim, whose seconds say whose it is."""
    if holder is None:
        return None
    whose = {ANN: 0, BOB: 1}.get(holder, 2)
    return _iso(DAWN + timedelta(minutes=next(_CLAIMS), seconds=whose))


def is_whole(holder: str | None, at: str | None) -> bool:
    """Whether holder and time are of one claim; of the portal's own claims only that both are."""
    if holder is None or at is None:
        return holder is at
    moment = datetime.fromisoformat(at)
    if moment > DAWN + timedelta(days=100):
        return True
    return moment.second == {ANN: 0, BOB: 1}.get(holder, 2)


def to_portal(world: World, column: str, value: Any) -> Any:
    """What the portal writes for a value."""
    if column == "claimed_by" and value is not None:
        return world.user(value)
    return FIELDS[column].blank if value is None else value


def look(world: World) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """What Airtable and the portal hold, by record id and column."""
    remote = {
        record_id: {f.column: _shown(record["fields"], f) for f in FIELDS.values()}
        for record_id, record in world.sandbox.records().items()
    }
    rows = world.sql(
        "SELECT airtable_record_id, to_jsonb(l), u.email FROM leads l "
        "LEFT JOIN users u ON u.id = l.claimed_by"
    )
    local = {record_id: _seen(row, email) for record_id, row, email in rows}
    return remote, local


def _shown(cells: dict[str, Any], field: Field) -> Any:
    """A rich text that was emptied shows as a line end."""
    cell = cells.get(field.airtable, field.blank)
    return field.blank if cell == "\n" else cell


def _seen(row: dict[str, Any], email: str | None) -> dict[str, Any]:
    seen = {f.column: f.blank if row[f.column] is None else row[f.column] for f in FIELDS.values()}
    seen["claimed_by"] = email
    return seen


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
