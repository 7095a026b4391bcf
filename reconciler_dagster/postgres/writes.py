"""A write to a lead, and what Postgres made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.core.codecs import Codec
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.left_out import WriteResult
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.sync import SyncMap
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal

# Why a cell does not hold its value though it was written.
MADE_ELSE = "a trigger of the portal's database makes something else of it"


@dataclass(frozen=True)
class LeadWrite:
    """What to write to one lead, canonical.

    ``row_version``: xmin when it was read. ``insert``: the lead is not there. What ``values`` do
    not say of it is then filled from ``deleted_row`` (what it was before somebody deleted it, if
    known), and after that from ``remembered`` (what is agreed on), then ``blanks``, and then
    ``constants``, which are Postgres' values. ``created_time``: of the record, ISO text.
    """

    record_id: str
    lead_id: str
    row_version: str | None
    values: Row
    insert: bool = False
    remembered: Row = field(default_factory=dict)
    blanks: Row = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    deleted_row: dict[str, Any] | None = None
    created_time: str | None = None

    @property
    def row(self) -> dict[str, Any]:
        """A new lead's row, once encoded."""
        known = self.blanks | self.remembered | (self.deleted_row or {})
        return {**self.constants, **known, **self.values}

    @property
    def before(self) -> dict[str, Any]:
        """What the lead is known to have had, once encoded. A blank that is more than NULL may be
        one that nobody gave it.
        """
        known = self.blanks | self.remembered | (self.deleted_row or {})
        return {c: v for c, v in known.items() if c not in self.blanks or v != self.blanks[c]}


@dataclass
class Applied:
    """What became of it. ``written``: columns written, by record id; ``inserted``: columns of a
    new lead that hold what its row said. ``placeholders``: what stands in columns, by record id,
    in place of a value that Postgres did not take; canonical.
    """

    written: dict[str, set[str]] = field(default_factory=dict)
    inserted: dict[str, set[str]] = field(default_factory=dict)
    placeholders: dict[str, Row] = field(default_factory=dict)
    deferred: set[str] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class WriteRecorder:
    """Notes what Postgres made of a write: cells may have been left out, a trigger of the portal
    may change or drop it, and what is not there must not count as agreed. ``fields``: those in use.
    """

    declared: SyncMap
    fields: FieldMap
    users: Directory
    applied: Applied

    def update(self, write: LeadWrite, row: Mapping[str, Any] | None, found: WriteResult) -> None:
        """``row``: the lead after the write; None where it was not written."""
        why = {column: trouble.reason for column, trouble in found.why.items()}
        if row is None:
            reason = "a trigger of the portal's database keeps the lead as it was"
            why = dict.fromkeys(write.values, found.held.reason if found.held else reason) | why
        stands = self._stands(write, write.values, row, why)
        self.applied.written.setdefault(write.record_id, set()).update(stands)

    def insert(self, write: LeadWrite, row: Mapping[str, Any], found: WriteResult) -> None:
        """``row``: the new lead."""
        why = {column: trouble.reason for column, trouble in found.why.items()}
        told = {c: v for c, v in write.row.items() if c in write.values or c in why}
        stands = self._stands(write, told, row, why)
        kept = write.before if why else {}
        stands |= {
            column
            for column, value in (write.row | {c: kept[c] for c in why if c in kept}).items()
            if (column not in told or column in why) and not self._differs(value, row, column)
        }
        self.applied.inserted[write.record_id] = stands
        # Not of a field that this base may do without: it is met when it comes.
        known = {
            f.column for f in self.declared.fields if not f.optional or f.column in self.fields
        }
        self._hold_places(write.record_id, row, known - stands)

    def hold(self, write: LeadWrite, reason: str) -> None:
        """A new lead that could not be inserted at all."""
        self.applied.refused.append(Refusal(write.record_id, WHOLE_LEAD, "to_postgres", reason))

    def _stands(
        self,
        write: LeadWrite,
        values: Row,
        row: Mapping[str, Any] | None,
        why: Mapping[str, str],
    ) -> set[str]:
        """The columns that hold their value; the others are refused."""
        refused = {
            column: why.get(column, MADE_ELSE)
            for column, value in values.items()
            if row is None or self._differs(value, row, column)
        }
        self.applied.refused += [
            Refusal(write.record_id, column, "to_postgres", reason, self._canonical(column, values))
            for column, reason in refused.items()
        ]
        if row is not None:
            made = {column for column in refused if column not in why}
            self._hold_places(write.record_id, row, made)
        return values.keys() - refused.keys()

    def _hold_places(self, record_id: str, row: Mapping[str, Any], columns: set[str]) -> None:
        known = columns & row.keys() & set(self.declared.fields.columns)
        places = {column: self._canonical(column, row) for column in known}
        if places:
            self.applied.placeholders.setdefault(record_id, {}).update(places)

    def _canonical(self, column: str, row: Mapping[str, Any]) -> Any:
        """None where it cannot be read."""
        if column not in self.declared.fields:
            return row.get(column)
        try:
            return self._codec(column).from_postgres(row.get(column), self.users)
        except Unreadable:
            return None

    def _codec(self, column: str) -> Codec:
        return (self.fields if column in self.fields else self.declared.fields)[column].codec

    def _differs(self, value: Any, row: Mapping[str, Any], column: str) -> bool:
        there = row.get(column)
        if there is None and value is None:  # most cells of most leads
            return False
        if column not in self.declared.fields:
            return bool(there != value)
        codec = self._codec(column)
        try:
            held = codec.from_postgres(there, self.users)
        except Unreadable:
            return True
        return bool(held != codec.from_postgres(value, self.users))
