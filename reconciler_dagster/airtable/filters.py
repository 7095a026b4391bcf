"""Formulas by which Airtable filters what it lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyairtable.formulas import Formula


def by_ids(ids: Iterable[str]) -> Formula:
    """A filter for records by id."""
    from pyairtable.formulas import Formula, quoted

    return Formula(f"FIND(RECORD_ID(), {quoted(','.join(ids))}) > 0")


def modified_since(
    moment: datetime, seen: Iterable[str] = (), seen_before: datetime | None = None
) -> Formula:
    """Records modified at or after a moment (whole seconds: Airtable facts, section 9).

    Leaves out those of ``seen`` that were not modified at or after ``seen_before``.
    """
    from pyairtable.formulas import AND, NOT

    recent = _from("LAST_MODIFIED_TIME()", moment)
    ids = list(seen)
    if not ids or seen_before is None:
        return recent
    return AND(recent, NOT(AND(by_ids(ids), NOT(_from("LAST_MODIFIED_TIME()", seen_before)))))


def created_between(start: datetime | None, end: datetime | None) -> Formula | None:
    """Records whose creation lies in the half-open window; None for all of them."""
    from pyairtable.formulas import AND, Formula

    bounds = []
    if start is not None:
        bounds.append(_from("CREATED_TIME()", start))
    if end is not None:
        bounds.append(Formula(f"IS_BEFORE(CREATED_TIME(), DATETIME_PARSE('{_iso(end)}'))"))
    return AND(*bounds) if bounds else None


def _from(function: str, moment: datetime) -> Formula:
    """At or after a whole second: IS_AFTER is strict, so it is asked with the second before."""
    from pyairtable.formulas import Formula

    before = moment - timedelta(seconds=1)
    return Formula(f"IS_AFTER({function}, DATETIME_PARSE('{_iso(before)}'))")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
