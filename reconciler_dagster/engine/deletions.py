"""Deletions: what is done about leads whose records a complete listing did not have.

Everything here runs under the client's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler_dagster.core.deletions import (
    State,
    after_absence,
    is_suspicious,
    never_met,
    too_many,
)
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import PAGE, Record
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import baseline, journal, leads, tombstones, windows


@dataclass
class Judged:
    """``found``: records that were not listed and are there. ``doubts``: in plain words, why
    nothing was believed. ``cut_short``: the listing was not complete.
    """

    found: list[Record] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    cut_short: bool = False


def judge(
    session: Session, scope: Scope, moment: str, listed: int, absent: Sequence[str]
) -> Judged:
    """Decide about the known records of a window that its listing did not have.

    They are asked for by id first (a sample of 100 where they are too many to be believed): a
    listing that left out what is there was cut short, and nothing is concluded from it.
    """
    pair = session.pair
    with session.engine.connect() as connection:
        known = windows.leads_of(connection, pair, scope)
        stones = tombstones.load(connection, pair, absent)
        counted = tombstones.counted(connection, pair)
        size = baseline.count(connection, pair)
        met = baseline.known(connection, pair, absent)
        elsewhere = leads.elsewhere(connection, pair, set(absent) - met)
    settled = (State.AWAITING_APPROVAL, State.REJECTED)
    gone = [record_id for record_id in absent if record_id in known]
    open_ = [r for r in gone if r not in stones or stones[r].state not in settled]
    asked = open_ if not too_many(len(open_), size) else open_[:: -(-len(open_) // PAGE)]
    found = session.base.read(session.table_id, asked, session.bound.field_ids)
    left_out = [
        r
        for r in found
        if scope.holds(r.created_time) and r.created_time < datetime.fromisoformat(moment)
    ]
    if left_out:
        doubt = (
            f"Airtable's listing of the window {scope} was cut short: of {len(asked)} leads that "
            f"it did not have, {len(left_out)} are there when asked for by id. Nothing was "
            "deleted; the next Great Sync or audit looks again."
        )
        return Judged(found, [doubt], cut_short=True)
    there = {record.id for record in found}
    gone = [record_id for record_id in gone if record_id not in there]
    agreed = [record_id for record_id in gone if record_id in met]
    new = [r for r in agreed if r not in stones or stones[r].state is State.RETURNED]
    suspicion = is_suspicious(listed, len(agreed), counted + len(new), size)
    doubted = {r: suspicion if r in met else never_met(elsewhere.get(r)) for r in gone}
    decidable = _conclude(session, doubted, stones)
    undecided = [r for r in agreed if r not in stones or stones[r].state is not State.REJECTED]
    doubts = []
    if suspicion and undecided:
        then = (
            ", then at `reconciler deletions list`."
            if decidable
            else ". Nothing has to be decided yet: what the next Great Sync or audit does not find "
            "either is then in `reconciler deletions list`."
        )
        doubts = [f"{suspicion} Nothing was deleted: look at Airtable's trash{then}"]
    return Judged(found, doubts)


def _conclude(
    session: Session,
    doubted: Mapping[str, str | None],
    stones: Mapping[str, tombstones.Tombstone],
) -> bool:
    """``doubted``: the records that are gone, and why a person has to say so, if one has to.
    Returns whether one can: each is looked for a second time first.
    """
    absences, buried = [], []
    for record_id, suspicion in doubted.items():
        stone = stones.get(record_id)
        listings = 1
        if stone and stone.state is not State.RETURNED:  # a run counts once, however often it looks
            listings = stone.listings + (stone.run_id != session.run_id)
        state = after_absence(stone.state if stone else None, listings, suspicion)
        if state is State.DELETED:
            buried.append(record_id)
            state = State.MISSING  # until it is done
        reason = suspicion or "A complete listing of its window does not have the record."
        absences.append(tombstones.Absence(record_id, state, listings, reason))
    with session.writing() as connection:
        tombstones.note_absent(connection, session.pair, session.run_id, absences)
        session.counts.deletions += tombstones.bury(
            connection, session.pair, session.run_id, buried
        )
        journal.close(connection, session.pair, buried)
    return any(absence.state is State.AWAITING_APPROVAL for absence in absences)


def carry_out_approved(session: Session) -> None:
    """Delete the leads that a person has approved of; not those that are back meanwhile."""
    pair = session.pair
    with session.engine.connect() as connection:
        stones = tombstones.load(connection, pair)
    approved = [r for r, stone in stones.items() if stone.state is State.APPROVED]
    if not approved:
        return
    found = session.base.read(session.table_id, approved, session.bound.field_ids)
    there = [record.id for record in found]
    gone = [record_id for record_id in approved if record_id not in there]
    with session.writing() as connection:
        tombstones.note_returned(connection, pair, session.run_id, there)
        session.counts.deletions += tombstones.bury(connection, pair, session.run_id, gone)
        journal.close(connection, pair, gone)
