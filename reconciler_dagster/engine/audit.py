"""The rolling audit: the stalest window first, as many as the hour's calls allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text

from reconciler_dagster.core import staging_key
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import PAGE
from reconciler_dagster.core.windows import (
    allowance,
    cycle_hours,
    stalest_window,
    window_at,
)
from reconciler_dagster.engine.brake import clears, refusals_doubt
from reconciler_dagster.engine.change_set import ChangeSet, combined
from reconciler_dagster.engine.listing import list_window
from reconciler_dagster.engine.session import Session
from reconciler_dagster.engine.windows import discard, preview, reconcile
from reconciler_dagster.postgres import baseline, derived, tombstones, windows

# Leads a window: few enough that a repair in it is a small thing.
AUDITED_LEADS = 5 * PAGE
# Hours that an overdraft is remembered.
HOURS_LOOKED_BACK = 24
# An absence is looked at a second time after this long.
SECOND_LOOK_MINUTES = 60


@dataclass
class Audited:
    """What an hour's audit did. ``braked``: why a window was listed but not carried out."""

    windows: list[str] = field(default_factory=list)
    listed: int = 0
    change_sets: list[ChangeSet] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    braked: list[str] = field(default_factory=list)
    unknown: int = 0
    cycle_hours: float = 0.0

    @property
    def change_set(self) -> ChangeSet:
        """All windows' changes as one."""
        return combined(self.change_sets)


def audit(session: Session) -> Audited:
    """Audit windows until the hour's calls are used up, or every lead was seen once.

    A base of which nothing is known is for the Great Sync; it is left alone.
    """
    out, met = Audited(), False
    with session.engine.connect() as connection:
        if baseline.exists(connection, session.pair):
            session.bound  # noqa: B018 - before anything that is remembered is used
            met = True
        leads = baseline.count(connection, session.pair)
        started: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    if met and session.map.is_followed:  # costs no call, so it is done whatever the budget allows
        with session.turn(), session.writing() as connection:
            derived.work_out(connection, session.pair)
    out.cycle_hours = cycle_hours(leads, session.settings.audit_calls_per_hour)
    while (scope := _next_window(session, started)) and str(scope) not in out.windows:
        key = staging_key.beneath(session.key, len(out.windows))
        window = list_window(session, scope, key)
        change_set = preview(session, window)
        out.windows.append(str(scope))
        out.listed += window.listed
        out.change_sets.append(change_set)
        with session.engine.connect() as connection:
            emptied = clears(connection, session.pair, change_set).doubt
        doubt = emptied or refusals_doubt(change_set)
        if doubt:
            allowed = "--allow-mass-clear" if emptied else "--allow-refusals"
            out.braked.append(
                f"The audit of the window {scope} was stopped. {doubt} If it is meant, run "
                f"`reconciler great-sync {allowed}`."
            )
            session.counts.pulled += window.listed
            discard(session, window)
            break
        reconciled = reconcile(session, window)
        out.doubts += reconciled.doubts
        out.unknown += reconciled.unknown
        if not reconciled.complete:
            break
    return out


def _next_window(session: Session, started: datetime) -> Scope | None:
    """A window that wants a second look, else the stalest; None where the budget is spent."""
    pair = session.pair
    with session.engine.connect() as connection:
        spent = windows.spent_by_hour(
            connection, session.client.base_id, session.purpose, HOURS_LOOKED_BACK
        )
        left = allowance(session.settings.audit_calls_per_hour, spent)
        if left <= 0:
            return None
        missing = tombstones.to_look_at(connection, pair, SECOND_LOOK_MINUTES)
        leads = windows.known_leads(connection, pair)
    if missing is not None:
        return window_at(leads, missing, PAGE)
    return stalest_window(leads, min(AUDITED_LEADS, left * PAGE), started)
