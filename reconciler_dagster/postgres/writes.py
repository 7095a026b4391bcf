"""A write to a lead, and what Postgres made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster.postgres.quarantine import Refusal


@dataclass(frozen=True)
class LeadWrite:
    """What to write to one lead, canonical.

    ``row_version``: xmin when it was read. ``insert``: the lead is not there; ``values`` is then
    its whole row, and ``deleted_row`` what it was before somebody deleted it, if known.
    """

    record_id: str
    lead_id: str
    row_version: str | None
    values: Row
    insert: bool = False
    deleted_row: dict[str, Any] | None = None


@dataclass
class Applied:
    """What became of it. ``written``: columns written, by record id."""

    written: dict[str, set[str]] = field(default_factory=dict)
    inserted: set[str] = field(default_factory=set)
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
            self.applied.inserted.add(write.record_id)
            self._stands(write, row)

    def _stands(self, write: LeadWrite, row: Mapping[str, Any] | None) -> set[str]:
        if row is None:
            reason = "a trigger of the portal's database keeps the lead as it was"
            refused = dict.fromkeys(write.values, reason)
        else:
            reason = "a trigger of the portal's database makes something else of it"
            refused = {
                column: reason for column in write.values if self._differs(write, row, column)
            }
        self.applied.refused += [
            Refusal(write.record_id, column, "to_postgres", reason)
            for column, reason in refused.items()
        ]
        return write.values.keys() - refused.keys()

    def _differs(self, write: LeadWrite, row: Mapping[str, Any], column: str) -> bool:
        if column not in self.fields.columns:
            return False
        codec = self.fields[column].codec
        try:
            there = codec.from_postgres(row.get(column), self.users)
        except Unreadable:
            return True
        return bool(there != codec.from_postgres(write.values[column], self.users))
