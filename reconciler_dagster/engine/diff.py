"""Decide: merge the staged sides into a plan, and stage that. Writes nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.core import together
from reconciler_dagster.core.brakes import OWN_WRITES_ALLOWED
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.parts import PART, in_parts
from reconciler_dagster.core.plan import LeadChange, by_lead
from reconciler_dagster.core.values import Value
from reconciler_dagster.engine.change_set import ChangeSet, combined, summarise
from reconciler_dagster.engine.foreseen import foreseen, newly, with_options_now
from reconciler_dagster.engine.frames import Sides, sides
from reconciler_dagster.engine.pull import Pulled
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import baseline, fights, journal, own_writes, quarantine, staging
from reconciler_dagster.postgres.baseline import BaselineRow
from reconciler_dagster.postgres.fights import Fought
from reconciler_dagster.postgres.quarantine import Refusal
from reconciler_dagster.postgres.staging import StagedLead, StagedRecord, StagingLost


@dataclass(frozen=True)
class Staged:
    """A part of the staged rows of a key, brought together. ``record_ids``: of the part."""

    key: str
    record_ids: frozenset[str]
    records: Mapping[str, StagedRecord]
    leads: Mapping[str, StagedLead]
    baselines: Mapping[str, BaselineRow]
    sides: Sides
    waiting: Mapping[tuple[str, str], Value]
    own_writes: Mapping[tuple[str, str], int]
    fought: Mapping[tuple[str, str], Fought]
    # Conflicts, by record id and field, that are over once Airtable has taken Postgres' value.
    to_tell: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def plan(self, session: Session) -> dict[str, LeadChange]:
        """The plan lead by lead, without cells whose refusal still stands, or that the engine has
        written too often.
        """
        unsettled = self.sides.unsettled()
        if not unsettled:
            return {}
        changes = by_lead(self.sides.merge(unsettled, session.fields))
        for record_id, change in changes.items():
            here, there = self.sides.local.get(record_id, {}), self.sides.remote[record_id]
            lead = self.leads.get(record_id)
            row = (lead.row if lead else None) or {}
            together.follow(change, there, here, row, session.fields)
            self._leave_fights(record_id, change, session.fields)
            for column in change.to_airtable.keys() & change.to_postgres.keys():
                if self.is_rewritten(record_id, column):  # a merged text would grow on
                    del change.to_postgres[column]
            left = {
                column
                for column, value in change.to_airtable.items()
                if self._still_refused(record_id, column, value)
                or self.is_rewritten(record_id, column)
            }
            left |= together.waiting(left, change.to_airtable, session.fields).keys()
            change.to_airtable = {c: v for c, v in change.to_airtable.items() if c not in left}
        return changes

    def _leave_fights(self, record_id: str, change: LeadChange, fields: FieldMap) -> None:
        """Take out cells that another writer has changed back once more."""
        present = change.to_postgres.keys() | change.to_airtable.keys()
        fought = {column for column in present if self.is_fought(record_id, column)}
        for column in fought | together.waiting(fought, present, fields).keys():
            change.to_postgres.pop(column, None)
            change.to_airtable.pop(column, None)
            change.conflicts = [c for c in change.conflicts if c["field"] != column]

    def is_fought(self, record_id: str, column: str) -> bool:
        """Whether the lead holds the value of another writer that has lost too often."""
        here = self.sides.local.get(record_id, {})
        key = (record_id, column)
        return key in self.fought and column in here and self.fought[key].is_about(here[column])

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


def load(
    session: Session,
    key: str,
    record_ids: Collection[str],
    *,
    remote: AbstractSet[str],
    local: AbstractSet[str] = frozenset(),
    may_assume: bool,
) -> Staged:
    """Read what was staged of some records under a key, with baselines, open journal entries and
    refusals.

    ``remote``, ``local``: what was staged of either side. Raises StagingLost where some of it is
    gone: it must not be taken for settled.
    """
    pair = session.pair
    with session.engine.connect() as connection:
        records = staging.records(connection, key, record_ids)
        leads = staging.leads(connection, key, record_ids)
        if lost := (remote - records.keys()) | (local - leads.keys()):
            raise StagingLost(len(lost))
        ids = [*records, *leads]
        baselines = baseline.load(connection, pair, ids)
        entries = journal.open_entries(connection, pair, record_ids)
        waiting = quarantine.waiting_values(connection, pair, ids, session.began)
        if session.dry_run:  # what a run that may write has already dropped from the tables
            baselines = {key: row.without(session.bound.changed) for key, row in baselines.items()}
            if session.moved:
                baselines, entries, waiting = {}, {}, {}
        own = {} if session.moved else own_writes.runs(connection, pair, ids)
        fought = {} if session.moved else fights.fought(connection, pair, ids)
        if waiting:
            anew = with_options_now(connection, pair, session.bound)
            waiting = {cell: value for cell, value in waiting.items() if cell not in anew}
    both = sides(
        records,
        leads,
        baselines,
        entries,
        session.fields,
        session.users,
        may_assume=may_assume,
    )
    staged = Staged(
        key, frozenset(record_ids), records, leads, baselines, both, waiting, own, fought
    )
    both.refused += _rewritten(session, staged)
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


def diff(session: Session) -> ChangeSet:
    """Stage the plan of the run that was pulled under this session's run id."""
    return combined(in_numbers(session, changes) for _, changes in stage_plan(session))


def stage_plan(session: Session) -> Iterator[tuple[Staged, dict[str, LeadChange]]]:
    """The same part by part, each in full."""
    with session.engine.begin() as connection:
        pulled = Pulled(**staging.pull(connection, session.key))
        staging.clear(connection, session.key, "staged_change")
    for staged, _ in parts(session, pulled):
        changes = staged.plan(session)
        with session.engine.begin() as connection:
            staging.stage_changes(connection, session.key, changes)
        yield staged, changes


def parts(session: Session, pulled: Pulled) -> Iterator[tuple[Staged, dict[str, LeadChange]]]:
    """What the run has staged, in parts, each with what is planned for it so far. The records that
    were asked for and are gone are in them.
    """
    with session.engine.connect() as connection:
        remote = staging.whole(connection, session.key, pulled.staged)
        local = set(staging.lead_ids(connection, session.key))
    for part in in_parts(sorted({*remote, *local, *pulled.gone}), PART):
        with session.engine.connect() as connection:
            changes = staging.changes(connection, session.key, part)
        staged = load(
            session,
            session.key,
            part,
            remote=remote.intersection(part),
            local=local.intersection(part),
            may_assume=pulled.window is None,
        )
        yield staged, changes


def in_numbers(session: Session, changes: Mapping[str, LeadChange]) -> ChangeSet:
    """A part's plan in numbers, with what is known here that Airtable would refuse of it."""
    refused = foreseen(session, changes)
    return summarise(session.fields, changes, refused, newly(session, refused))
