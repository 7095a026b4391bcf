"""What a run finds out besides what it counts. Pure."""

from __future__ import annotations

from typing import Any, TypedDict


class Findings(TypedDict, total=False):
    """Kept as JSON with the run's summary. Each step notes its own, so any may be missing.

    The lists are sentences for people: ``guard``: what may keep edits from being noted;
    ``new_syncs``: syncs that were left out, for nobody has adopted them; ``stopped``: fields;
    ``notes``: what the mapping check found that is no fault; ``moved``: other bases or tables than
    before; ``fights``: with other writers; ``doubts``: absences that were not believed, and windows
    that were not carried out; ``drift``: differences that nothing explains.

    ``unanswered``: writes whose outcome is not known; ``decided``: deletions; ``months``: of the
    windows that the run is over; ``glanced``: syncs that a glance looked at; ``misconfigured``: the
    failure is one of the settings.
    ``change_set``, ``change_sets`` (by sync): engine.change_set.ChangeSet as JSON.
    """

    guard: list[str]
    new_syncs: list[str]
    stopped: list[str]
    notes: list[str]
    moved: list[str]
    fights: list[str]
    doubts: list[str]
    drift: list[str]
    unanswered: int
    decided: int
    months: list[str]
    glanced: list[str]
    dry_run: bool
    allow_mass_clear: bool
    allow_refusals: bool
    misconfigured: bool
    change_set: dict[str, Any]
    change_sets: dict[str, dict[str, Any]]
