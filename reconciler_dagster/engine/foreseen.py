"""What Airtable will refuse, known before anything is sent: by codecs, metadata and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from reconciler_dagster.core.bound import BoundMap
from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.together import waiting
from reconciler_dagster.core.values import Unreadable, Value
from reconciler_dagster.core.words import MEND_OPTION, NO_OPTION
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import quarantine
from reconciler_dagster.postgres.quarantine import Refusal


def foreseen(session: Session, changes: Mapping[str, LeadChange]) -> list[Refusal]:
    """The cells of a plan that Airtable cannot take."""
    return [
        refusal
        for record_id, change in changes.items()
        for refusal in refusals_of(session, record_id, change.to_airtable)
    ]


def with_options_now(connection: Connection, pair: Pair, mapping: BoundMap) -> set[tuple[str, str]]:
    """Cells in quarantine, by record id and column, whose option has been added since, as far as
    the metadata shows: they wait no more.
    """
    return {
        (record_id, column)
        for (record_id, column), value in quarantine.awaiting_options(connection, pair).items()
        if column in mapping.fields and _is_option(mapping, column, value)
    }


def _is_option(mapping: BoundMap, column: str, value: Value) -> bool:
    try:
        cell = mapping.fields[column].codec.to_airtable(value)
    except Unreadable:
        return False
    return cell is None or mapping.option(column, cell) is not None


def newly(session: Session, refusals: Sequence[Refusal]) -> int:
    """How many of the cells are not in quarantine yet; those that are have been told."""
    if session.dry_run and session.moved:  # a run that may write has dropped what was told of there
        return len(refusals)
    with session.engine.connect() as connection:
        known = quarantine.cells(connection, session.pair, {r.record_id for r in refusals})
    return sum((r.record_id, r.field, r.direction) not in known for r in refusals)


def refusals_of(session: Session, record_id: str, row: Mapping[str, Value]) -> list[Refusal]:
    """Which of these canonical values Airtable cannot take, as far as is known here, and which
    wait with them.
    """
    reasons = {
        column: f"{session.map.fields[column].airtable} {why}"
        for column, value in row.items()
        if (why := _why_not(session, column, value))
    }
    return refused_with(session, record_id, row, reasons)


def refused_with(
    session: Session, record_id: str, row: Mapping[str, Value], reasons: Mapping[str, str]
) -> list[Refusal]:
    """The refusals of some cells of a row, and of those that are carried over with them."""
    every = {**reasons, **waiting(reasons, row, session.map.fields)}
    return [Refusal(record_id, c, "to_airtable", why, row[c]) for c, why in every.items()]


def _why_not(session: Session, column: str, value: Value) -> str | None:
    mapped = session.map.fields[column]
    try:
        cell = mapped.codec.to_airtable(value)
        if cell is not None:
            _require_option(session, column, cell)
    except Unreadable as why:
        return str(why)
    return None


def _require_option(session: Session, column: str, cell: Any) -> None:
    """Raise Unreadable where a select has no such option. Before one of another spelling is taken,
    or none, the metadata is read again: two options may differ in a blank.
    """
    if session.bound.option(column, cell) != cell and not session.mapping_is_fresh:
        session.check_mapping(force=True)
    if session.bound.option(column, cell) is None:
        raise Unreadable(f"is '{cell}', which {NO_OPTION}: {MEND_OPTION}")
