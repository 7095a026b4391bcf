"""Leads whose records Airtable does not have, as a run has found by asking for them by id."""

from __future__ import annotations

from collections.abc import Set

from reconciler_dagster.core.deletions import State
from reconciler_dagster.engine.diff import Staged
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import derived, journal, leads, quarantine, tombstones
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal


def refuse_gone(session: Session, staged: Staged, gone: Set[str]) -> None:
    """A lead whose record Airtable does not have: nothing can be sent until that is cleared up.

    Where the lead is gone too, or is known to be deleted, there is nothing to clear up.
    """
    if not gone:
        return
    pair = session.pair
    with session.engine.connect() as connection:
        buried = {
            record_id
            for record_id, tombstone in tombstones.load(connection, pair, gone).items()
            if tombstone.state is State.DELETED
        }
        there = {r for r in gone - buried if r in staged.leads and staged.leads[r].row is not None}
        first = session.writer == "first_contact"
        never_met = leads.never_met(connection, pair, there, at_first_contact=first)
    reason = "Airtable has no such record: it was deleted there, or the record id is wrong"
    read = [n for r in gone if r in staged.leads for n in staged.leads[r].revisions]
    with session.writing() as connection:
        moved = leads.note_moved(connection, pair, there)
        there -= never_met - moved.keys()  # these wait as deletions, and are told as such
        reasons = {
            r: f"the lead was moved here from another client ({moved[r]}), whose base has its "
            "record: move it back, or move the record"
            for r in moved
        }
        quarantine.put(
            connection,
            pair,
            [Refusal(r, WHOLE_LEAD, "to_airtable", reasons.get(r, reason)) for r in sorted(there)],
        )
        quarantine.release(connection, pair, gone - there, (), ())
        tombstones.suspect(connection, pair, gone - buried)
        were = leads.settle(connection, read).were
        derived.work_out(connection, pair, gone, were)
        journal.close(connection, pair, gone)
