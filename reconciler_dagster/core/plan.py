"""The plan: what one merge decided, cell by cell. A plain value; applying it is others' work."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler_dagster.core.values import Value

if TYPE_CHECKING:
    import pandas as pd

CELL_COLUMNS = ["record_id", "field", "old", "new"]
# Stands for a field where a change-set has a lead that is to be inserted.
NEW_LEAD = "(a new lead)"
CONFLICT_COLUMNS = ["record_id", "field", "kind", "baseline", "winning", "losing"]


class ConflictKind(StrEnum):
    """Why a value lost."""

    BOTH_EDITED = "both_edited"
    FIRST_CONTACT = "first_contact"
    OWNED_BY_AIRTABLE = "owned_by_airtable"


@dataclass(frozen=True)
class Plan:
    """Long frames of object dtype, one row a cell.

    - ``to_postgres``, ``to_airtable``: ``record_id, field, old, new``; canonical values.
    - ``agreed``: the same columns; both sides hold ``new`` already, the baseline does not.
    - ``conflicts``: ``record_id, field, kind, baseline, winning, losing``.
    - ``held``: cells in which a person chooses; ``old`` is Airtable's value, ``new`` Postgres'.
    - ``inserts``: records of Airtable (or of the baseline) that have no lead in Postgres.
    - ``held_back``: cells where nothing blank may overwrite a value (first contact).
    """

    to_postgres: pd.DataFrame
    to_airtable: pd.DataFrame
    agreed: pd.DataFrame
    conflicts: pd.DataFrame
    held_back: pd.DataFrame
    held: pd.DataFrame
    inserts: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether neither side nor the baseline would change."""
        frames = (self.to_postgres, self.to_airtable, self.agreed, self.conflicts)
        return all(frame.empty for frame in frames) and not self.inserts


@dataclass
class LeadChange:
    """The plan of one lead, as it is staged between the diff and the push. ``held``: of a cell in
    which a person chooses, Airtable's value and Postgres'.
    """

    to_postgres: dict[str, Value] = field(default_factory=dict)
    to_airtable: dict[str, Value] = field(default_factory=dict)
    agreed: dict[str, Value] = field(default_factory=dict)
    old: dict[str, Value] = field(default_factory=dict)
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    held: dict[str, tuple[Value, Value]] = field(default_factory=dict)
    insert: bool = False


def by_lead(plan: Plan) -> dict[str, LeadChange]:
    """The plan lead by lead; leads with nothing to do are left out."""
    changes: defaultdict[str, LeadChange] = defaultdict(LeadChange)
    for name in ("to_postgres", "to_airtable", "agreed"):
        cells: pd.DataFrame = getattr(plan, name)
        for record_id, column, old, new in cells.itertuples(index=False, name=None):
            change = changes[record_id]
            getattr(change, name)[column] = new
            if name != "agreed":
                change.old.setdefault(column, old)
    for record_id, column, there, here in plan.held.itertuples(index=False, name=None):
        changes[record_id].held[column] = (there, here)
    for row in plan.conflicts.to_dict("records"):
        changes[row.pop("record_id")].conflicts.append({str(key): row[key] for key in row})
    for record_id in plan.inserts:
        changes[record_id].insert = True
    return dict(changes)
