"""Staged rows and baselines as the three frames of the merge."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler_dagster.core.appending import begins_like, has_got
from reconciler_dagster.core.fields import FieldMap, MappedField, Policy
from reconciler_dagster.core.plan import Plan
from reconciler_dagster.core.reading import Row, from_postgres
from reconciler_dagster.core.values import UNKNOWN, Directory, Value, frame
from reconciler_dagster.postgres.baseline import BaselineRow
from reconciler_dagster.postgres.journal import Entry
from reconciler_dagster.postgres.quarantine import Refusal
from reconciler_dagster.postgres.staging import StagedLead, StagedRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Sides:
    """The rows of one merge, by record id.

    ``assumed``: records whose remote side was not read and is taken to be the baseline; true for
    a delta, since what changed was listed. ``settled_sends``: what open journal entries turned
    out to have brought about.
    """

    baseline: dict[str, Row] = field(default_factory=dict)
    remote: dict[str, Row] = field(default_factory=dict)
    local: dict[str, Row] = field(default_factory=dict)
    assumed: set[str] = field(default_factory=set)
    settled_sends: dict[str, Row] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def differ(self, record_id: str, column: str) -> bool:
        """Whether both sides of a cell were read, and differ."""
        here, there = self.local.get(record_id, {}), self.remote.get(record_id, {})
        return column in here and column in there and bool(here[column] != there[column])

    def unsettled(self) -> list[str]:
        """The records for which both sides do not hold just what was agreed on: of the others, most
        of a large base, a merge says nothing.
        """
        return [
            record_id
            for record_id, there in self.remote.items()
            if not there == self.local.get(record_id) == self.baseline.get(record_id)
        ]

    def merge(self, record_ids: Collection[str], fields: FieldMap) -> Plan:
        """Merge some of them."""
        from reconciler_dagster.core.merge import merge  # with pandas: a quiet run needs none

        def as_frame(rows: Mapping[str, Row]) -> pd.DataFrame:
            return frame({r: rows[r] for r in record_ids if r in rows}, fields.columns)

        return merge(as_frame(self.baseline), as_frame(self.remote), as_frame(self.local), fields)


def sides(
    records: Mapping[str, StagedRecord],
    leads: Mapping[str, StagedLead],
    baselines: Mapping[str, BaselineRow],
    journal: Mapping[str, list[Entry]],
    fields: FieldMap,
    users: Directory,
    *,
    may_assume: bool,
) -> Sides:
    """Bring staged rows together.

    ``may_assume``: a lead whose record was not read, and for which every field is agreed on, is
    taken to be unchanged in Airtable. Other leads without a record are left out.
    """
    out = Sides()
    for record_id, record in records.items():
        out.remote[record_id] = record.fields
        out.refused += _refusals(record_id, "to_postgres", record.unreadable)
    for record_id, lead in leads.items():
        known = baselines.get(record_id)
        if record_id not in records:
            if not (may_assume and known and known.is_whole(fields.columns)):
                continue
            out.remote[record_id] = known.fields
            out.assumed.add(record_id)
        if lead.row is not None:
            out.local[record_id], problems = from_postgres(lead.row, fields, users)
            out.refused += _refusals(record_id, "to_airtable", problems)
    for record_id in out.remote:
        agreed = dict(baselines[record_id].fields) if record_id in baselines else {}
        if record_id in baselines:
            here, there = out.local.get(record_id, {}), out.remote[record_id]
            agreed |= _standing_in(baselines[record_id].placeholders, there, here)
        if record_id in records:
            entries = journal.get(record_id, ())
            agreed |= _merged_before(entries, out.local.get(record_id, {}), fields)
            arrived = _arrived(entries, agreed, records[record_id].fields, fields)
            agreed |= arrived
            if arrived:
                out.settled_sends[record_id] = arrived
        out.baseline[record_id] = agreed
    return out


def _standing_in(placeholders: Row, remote: Row, local: Row) -> Row:
    """Placeholders count as what was agreed on, until both sides hold the same: whatever else the
    lead holds is somebody's edit, and what Airtable holds is still to come.
    """
    return {
        column: value
        for column, value in placeholders.items()
        if not (column in remote and column in local and remote[column] == local[column] == value)
    }


def _arrived(entries: Iterable[Entry], agreed: Row, remote: Row, fields: FieldMap) -> Row:
    """What a send whose answer was lost did bring about: there is what was sent, in whatever form
    Airtable keeps it, or what was added to a text, whatever else was typed there since.
    """
    return {
        column: value
        for entry in entries
        for column, value in entry.fields.items()
        if column in remote
        and column in fields
        and remote[column] != agreed.get(column, UNKNOWN)
        and _is_there(fields[column], agreed.get(column), remote[column], value)
    }


def _is_there(mapped: MappedField, base: Value, there: Value, sent: Value) -> bool:
    normal = mapped.codec.normal
    if normal(there) in (normal(sent), normal(mapped.codec.arrives(sent))):
        return True
    return mapped.policy is Policy.MERGE_APPENDS and has_got(base, there, sent, normal)


def _merged_before(entries: Iterable[Entry], local: Row, fields: FieldMap) -> Row:
    """What a merged text was built on, where the lead holds it and it may not have been sent: from
    there on the portal has only appended.
    """
    return {
        column: entry.merged_over[column]
        for entry in entries
        for column in entry.merged_over
        if column in fields
        and begins_like(local.get(column), entry.fields[column], fields[column].codec.normal)
    }


def _refusals(record_id: str, direction: str, problems: Mapping[str, str]) -> list[Refusal]:
    return [
        Refusal(record_id, column, direction, reason)  # type: ignore[arg-type]
        for column, reason in problems.items()
    ]
