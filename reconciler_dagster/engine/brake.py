"""The brakes: on emptying cells in Airtable, seen with the whole base, and on what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler_dagster.core.brakes import (
    CLEARS_ALLOWED,
    CLEARS_ALLOWED_SHARE,
    CLEARS_ALWAYS_ALLOWED,
    REFUSALS_ALLOWED,
    REFUSALS_ALLOWED_SHARE,
    clears_too_many,
    refuses_too_many,
)
from reconciler_dagster.core.rehearsal import Report
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.postgres import baseline


@dataclass(frozen=True)
class Clears:
    """Leads: ``here`` with cells that the change-set would empty in Airtable, ``emptied`` of the
    whole base with cells that the portal emptied (``here`` again where that is always allowed),
    ``leads`` of the base.
    """

    here: int
    emptied: int
    leads: int

    @property
    def doubt(self) -> str | None:
        """Why the change-set waits for a person; None where it may be carried out."""
        if not clears_too_many(self.emptied, self.leads):
            return None
        return (
            f"It would empty cells of {self.here} leads in Airtable, and the portal has emptied "
            f"cells of {self.emptied} of {self.leads} leads; more than {CLEARS_ALLOWED} and "
            f"{CLEARS_ALLOWED_SHARE:.0%} wait for a person. Nothing was written."
        )


def refusals_doubt(change_set: ChangeSet, approved: Report | None = None) -> str | None:
    """Why a change-set of which much would be refused waits for a person; None where it may go.

    ``approved``: what a person has been shown of it, and approved of.
    """
    refused = change_set.newly_refused
    if approved and refused <= sum(approved.change_set["refused_in_airtable"].values()):
        return None
    outbound = sum(change_set.to_airtable.values()) + sum(change_set.refused_in_airtable.values())
    if not refuses_too_many(refused, outbound):
        return None
    reasons = [
        f"{why['reason']} ({why['cells']} cells)"
        for why in change_set.refusals
        if why["side"] == "airtable"
    ]
    return (
        f"Of {outbound} cells for Airtable {refused} would be refused; more than "
        f"{REFUSALS_ALLOWED} and {REFUSALS_ALLOWED_SHARE:.0%} wait for a person. Nothing was "
        f"written. {'; '.join(reasons[:3])}."
    )


def clears(connection: Connection, pair: Pair, change_set: ChangeSet) -> Clears:
    """Count. A window sees a part of an accident, so that the part alone says nothing."""
    here = change_set.cleared_in_airtable
    emptied = here
    if here > CLEARS_ALWAYS_ALLOWED:
        columns = [field.column for field in pair.map.fields if field.both]
        emptied = max(here, baseline.emptied(connection, pair, columns))
    return Clears(here, emptied, baseline.count(connection, pair))
