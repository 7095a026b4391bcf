"""The plan in numbers, for checks and people: what would be written, and what would be refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.plan import NEW_LEAD, LeadChange
from reconciler_dagster.core.values import Value
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal

# Examples of each field and side.
EXAMPLES = 2
# Kinds of refusal that are told, the most frequent first.
REFUSALS_TOLD = 50


@dataclass(frozen=True)
class ChangeSet:
    """Cells by field; ``sample``: of each kind some, as ``record_id, field, side, old, new``.

    What is foreseen to be refused counts in ``refused_in_postgres`` and ``refused_in_airtable``
    alone; ``refusals``: why, as ``side, field, reason, cells, record_id`` (an example). What
    Postgres refuses is foreseen by a rehearsal only. ``newly_refused``: those for Airtable that
    are not in quarantine yet.
    """

    leads: int
    inserts: int
    to_postgres: dict[str, int]
    to_airtable: dict[str, int]
    cleared_in_airtable: int
    conflicts: dict[str, int]
    sample: list[dict[str, Any]]
    refused_in_postgres: dict[str, int] = field(default_factory=dict)
    refused_in_airtable: dict[str, int] = field(default_factory=dict)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    newly_refused: int = 0

    @property
    def refused(self) -> int:
        """Cells that are foreseen to be refused, and leads as a whole."""
        return sum(self.refused_in_postgres.values()) + sum(self.refused_in_airtable.values())


NOTHING = ChangeSet(0, 0, {}, {}, 0, {}, [])


def summarise(
    fields: FieldMap,
    changes: Mapping[str, LeadChange],
    refused: Iterable[Refusal],
    newly_refused: int = 0,
) -> ChangeSet:
    """A plan in numbers. ``refused``: what is foreseen of it."""
    to_postgres: Counter[str] = Counter()
    to_airtable: Counter[str] = Counter()
    conflicts: Counter[str] = Counter()
    cleared: set[str] = set()
    sample, inserts = _Sample(), 0
    known = {(r.record_id, r.field, r.direction): r for r in refused}  # each cell once

    def goes(record_id: str, column: str, direction: str) -> bool:
        return (record_id, column, direction) not in known

    for record_id, change in sorted(changes.items()):  # the same examples for the same plan
        here = {c: v for c, v in change.to_postgres.items() if goes(record_id, c, "to_postgres")}
        there = {
            column: value
            for column, value in change.to_airtable.items()
            if goes(record_id, column, "to_airtable")
            and (column in here or column not in change.to_postgres)  # a merged text: both or none
        }
        to_postgres.update(here.keys())
        to_airtable.update(there.keys())
        lost = [conflict["field"] for conflict in change.conflicts]
        conflicts.update(c for c in lost if c in here or c not in change.to_postgres)
        if any(value == fields[column].codec.blank for column, value in there.items()):
            cleared.add(record_id)
        if change.insert and goes(record_id, WHOLE_LEAD, "to_postgres"):
            inserts += 1
            sample.add(record_id, NEW_LEAD, "postgres", "", "")
        for side, cells in (("postgres", here), ("airtable", there)):
            for column, value in cells.items():
                sample.add(record_id, column, side, change.old.get(column), value)
    by_side = {"to_postgres": Counter[str](), "to_airtable": Counter[str]()}
    for refusal in known.values():
        by_side[refusal.direction][refusal.field] += 1
    return ChangeSet(
        leads=len(changes),
        inserts=inserts,
        to_postgres=dict(to_postgres),
        to_airtable=dict(to_airtable),
        cleared_in_airtable=len(cleared),
        conflicts=dict(conflicts),
        sample=sample.rows,
        refused_in_postgres=dict(by_side["to_postgres"]),
        refused_in_airtable=dict(by_side["to_airtable"]),
        refusals=_told(
            {
                "side": refusal.direction.removeprefix("to_"),
                "field": refusal.field,
                "reason": refusal.reason,
                "cells": 1,
                "record_id": refusal.record_id,
            }
            for refusal in known.values()
        ),
        newly_refused=newly_refused,
    )


def combined(change_sets: Iterable[ChangeSet]) -> ChangeSet:
    """Several change-sets as one."""
    total = NOTHING
    for change_set in change_sets:
        total = _sum(total, change_set)
    return total


def _sum(one: ChangeSet, other: ChangeSet) -> ChangeSet:
    def added(name: str) -> dict[str, int]:
        return dict(Counter(getattr(one, name)) + Counter(getattr(other, name)))

    return ChangeSet(
        leads=one.leads + other.leads,
        inserts=one.inserts + other.inserts,
        to_postgres=added("to_postgres"),
        to_airtable=added("to_airtable"),
        cleared_in_airtable=one.cleared_in_airtable + other.cleared_in_airtable,
        conflicts=added("conflicts"),
        sample=_together(one.sample, other.sample),
        refused_in_postgres=added("refused_in_postgres"),
        refused_in_airtable=added("refused_in_airtable"),
        refusals=_told(chain(one.refusals, other.refusals)),
        newly_refused=one.newly_refused + other.newly_refused,
    )


def _told(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refusals by side, field and reason, the most frequent first."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        known = found.setdefault((row["side"], row["field"], row["reason"]), row | {"cells": 0})
        known["cells"] += row["cells"]
    most = sorted(found.items(), key=lambda item: (-item[1]["cells"], item[0]))
    return [row for _, row in most[:REFUSALS_TOLD]]


class _Sample:
    """The first cells of each field and side; the plan of a large base has millions."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._seen: Counter[tuple[str, str]] = Counter()

    def add(self, record_id: str, field: str, side: str, old: Value, new: Value) -> None:
        """Keep a cell if it is one of the first."""
        self._seen[side, field] += 1
        if self._seen[side, field] <= EXAMPLES:
            cell = {"record_id": record_id, "field": field, "side": side}
            self.rows.append(cell | {"old": short(old), "new": short(new)})


def _together(*samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Several change-sets' samples as one."""
    kept = _Sample()
    for row in chain(*samples):
        kept.add(**row)
    return kept.rows


def short(value: Value) -> str:
    """A value as an example shows it."""
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
