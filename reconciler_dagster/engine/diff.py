"""Decide: merge the staged sides into a plan, and stage that. Writes nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from reconciler_dagster.core.brakes import OWN_WRITES_ALLOWED
from reconciler_dagster.core.plan import NEW_LEAD, LeadChange, by_lead
from reconciler_dagster.core.values import Value
from reconciler_dagster.engine.frames import Sides, sides
from reconciler_dagster.engine.pull import Pulled
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import baseline, journal, own_writes, quarantine, staging
from reconciler_dagster.postgres.baseline import BaselineRow
from reconciler_dagster.postgres.quarantine import Refusal
from reconciler_dagster.postgres.staging import StagedLead, StagedRecord


@dataclass(frozen=True)
class Staged:
    """The staged rows of a key (a run, or one chunk of its push) brought together."""

    key: str
    records: Mapping[str, StagedRecord]
    leads: Mapping[str, StagedLead]
    baselines: Mapping[str, BaselineRow]
    sides: Sides
    waiting: Mapping[tuple[str, str], Value]
    own_writes: Mapping[tuple[str, str], int]
    # Conflicts, by record id and field, that are over once Airtable has taken Postgres' value.
    to_tell: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def plan(self, session: Session) -> dict[str, LeadChange]:
        """The plan lead by lead, without cells whose refusal still stands, or that the engine has
        written too often.
        """
        if not self.sides.remote:
            return {}
        changes = by_lead(self.sides.merge(session.fields))
        for record_id, change in changes.items():
            for column in change.to_airtable.keys() & change.to_postgres.keys():
                if self.is_rewritten(record_id, column):  # a merged text would grow on
                    del change.to_postgres[column]
            change.to_airtable = {
                column: value
                for column, value in change.to_airtable.items()
                if not self._still_refused(record_id, column, value)
                and not self.is_rewritten(record_id, column)
            }
        return changes

    def is_rewritten(self, record_id: str, column: str) -> bool:
        """Whether the last runs have written the cell one after the other, and nobody edited the
        lead.
        """
        lead = self.leads.get(record_id)
        often = self.own_writes.get((record_id, column), 0) >= OWN_WRITES_ALLOWED
        return often and not (lead and lead.revisions)

    def _still_refused(self, record_id: str, column: str, value: Value) -> bool:
        key = (record_id, column)
        return key in self.waiting and self.waiting[key] == value


def load(session: Session, key: str, *, may_assume: bool) -> Staged:
    """Read what was staged under a key, with baselines, open journal entries and refusals."""
    pair = session.pair
    with session.engine.connect() as connection:
        records = staging.records(connection, key)
        leads = staging.leads(connection, key)
        ids = [*records, *leads]
        baselines = baseline.load(connection, pair, ids)
        entries = journal.open_entries(connection, pair)
        waiting = quarantine.waiting_values(connection, pair, ids, session.began)
        if session.dry_run:  # what a run that may write has already dropped from the tables
            baselines = {key: row.without(session.bound.changed) for key, row in baselines.items()}
            if session.moved:
                baselines, entries, waiting = {}, {}, {}
        own = {} if session.moved else own_writes.runs(connection, pair, ids)
    together = sides(
        records,
        leads,
        baselines,
        entries,
        session.fields,
        session.users,
        may_assume=may_assume,
    )
    staged = Staged(key, records, leads, baselines, together, waiting, own)
    together.refused += _rewritten(session, staged)
    return staged


def _rewritten(session: Session, staged: Staged) -> list[Refusal]:
    """Cells that differ, and that are not sent once more."""
    return [
        Refusal(
            record_id,
            column,
            "to_airtable",
            f"{session.map.fields[column].airtable} was written to Airtable by {runs} runs in a "
            f"row though "
            "nobody edited the lead: something rewrites it on one side. Look at both sides, then "
            "run `reconciler quarantine retry`",
            staged.sides.local[record_id][column],
        )
        for (record_id, column), runs in staged.own_writes.items()
        if staged.is_rewritten(record_id, column) and staged.sides.differ(record_id, column)
    ]


@dataclass(frozen=True)
class ChangeSet:
    """The plan in numbers, for checks and people. Cells by field; ``sample``: of each kind some,
    as ``record_id, field, side, old, new``.
    """

    leads: int
    inserts: int
    to_postgres: dict[str, int]
    to_airtable: dict[str, int]
    cleared_in_airtable: int
    conflicts: dict[str, int]
    sample: list[dict[str, Any]]


# Examples of each field and side.
EXAMPLES = 2


def diff(session: Session) -> ChangeSet:
    """Stage the plan of the run that was pulled under this session's run id."""
    with session.engine.connect() as connection:
        pulled = Pulled(**staging.pull(connection, session.key))
        staging.require_whole(connection, [session.key], pulled.staged)
    staged = load(session, session.key, may_assume=pulled.window is None)
    changes = staged.plan(session)
    with session.engine.begin() as connection:
        _replace_changes(connection, session.key, changes)
    return summarise(session, changes)


def _replace_changes(
    connection: Connection, run_id: str, changes: Mapping[str, LeadChange]
) -> None:
    staging.clear(connection, run_id, "staged_change")
    staging.stage_changes(connection, run_id, changes)


def summarise(session: Session, changes: Mapping[str, LeadChange]) -> ChangeSet:
    """A plan in numbers."""
    to_postgres: Counter[str] = Counter()
    to_airtable: Counter[str] = Counter()
    conflicts: Counter[str] = Counter()
    cleared: set[str] = set()
    sample = _Sample()
    for record_id, change in sorted(changes.items()):  # the same examples for the same plan
        to_postgres.update(change.to_postgres.keys())
        to_airtable.update(change.to_airtable.keys())
        conflicts.update(conflict["field"] for conflict in change.conflicts)
        for column, value in change.to_airtable.items():
            if value == session.fields[column].codec.blank:
                cleared.add(record_id)
        if change.insert:
            sample.add(record_id, NEW_LEAD, "postgres", "", "")
        for side, cells in (("postgres", change.to_postgres), ("airtable", change.to_airtable)):
            for column, value in cells.items():
                sample.add(record_id, column, side, change.old.get(column), value)
    return ChangeSet(
        leads=len(changes),
        inserts=sum(change.insert for change in changes.values()),
        to_postgres=dict(to_postgres),
        to_airtable=dict(to_airtable),
        cleared_in_airtable=len(cleared),
        conflicts=dict(conflicts),
        sample=sample.rows,
    )


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
            self.rows.append(cell | {"old": _short(old), "new": _short(new)})


def together(*samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Several change-sets' samples as one."""
    kept = _Sample()
    for row in chain(*samples):
        kept.add(**row)
    return kept.rows


def _short(value: Value) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
