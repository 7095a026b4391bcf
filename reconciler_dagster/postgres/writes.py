"""A write to a lead, and what Postgres made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.core.fields import LEADS, FieldMap
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster.postgres.quarantine import Refusal


@dataclass(frozen=True)
class LeadWrite:
    """What to write to one lead, canonical.

    ``row_version``: xmin when it was read. ``insert``: the lead is not there. What ``values`` do
    not say of it is then filled from ``deleted_row`` (what it was before somebody deleted it, if
    known), and after that from ``remembered`` (what is agreed on).
    """

    record_id: str
    lead_id: str
    row_version: str | None
    values: Row
    insert: bool = False
    remembered: Row = field(default_factory=dict)
    deleted_row: dict[str, Any] | None = None

    @property
    def row(self) -> dict[str, Any]:
        """A new lead's row, once encoded."""
        return self.remembered | (self.deleted_row or {}) | self.values


@dataclass
class Applied:
    """What became of it. ``written``: columns written, by record id; ``inserted``: columns of a
    new lead that hold what its row said.
    """

    written: dict[str, set[str]] = field(default_factory=dict)
    inserted: dict[str, set[str]] = field(default_factory=dict)
    deferred: set[str] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class Took:
    """Notes what Postgres made of a write: a trigger of the portal may change or drop it, and what
    is not there must not count as agreed.
    """

    fields: FieldMap
    users: Directory
    applied: Applied

    def update(self, write: LeadWrite, row: Mapping[str, Any] | None) -> None:
        """``row``: the lead after the write; None where it was not written."""
        self.applied.written.setdefault(write.record_id, set()).update(self._stands(write, row))

    def insert(self, write: LeadWrite, row: Mapping[str, Any] | None) -> None:
        """``row``: the new lead; None where there is one already."""
        if row is None:
            self.applied.deferred.add(write.record_id)
        else:
            self.applied.inserted[write.record_id] = self._stands(write, row) | {
                column
                for column, value in write.row.items()
                if column not in write.values and not self._differs(value, row, column)
            }

    def _stands(self, write: LeadWrite, row: Mapping[str, Any] | None) -> set[str]:
        if row is None:
            reason = "a trigger of the portal's database keeps the lead as it was"
            refused = dict.fromkeys(write.values, reason)
        else:
            reason = "a trigger of the portal's database makes something else of it"
            refused = {
                column: reason
                for column, value in write.values.items()
                if self._differs(value, row, column)
            }
        self.applied.refused += [
            Refusal(write.record_id, column, "to_postgres", reason)
            for column, reason in refused.items()
        ]
        return write.values.keys() - refused.keys()

    def _differs(self, value: Any, row: Mapping[str, Any], column: str) -> bool:
        if column not in LEADS:
            return False
        codec = (self.fields if column in self.fields else LEADS)[column].codec
        try:
            there = codec.from_postgres(row.get(column), self.users)
        except Unreadable:
            return True
        return bool(there != codec.from_postgres(value, self.users))
