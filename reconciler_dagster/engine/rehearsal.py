"""Rehearse: carry out the local part of a plan in transactions that are rolled back, part by part.

So what Postgres refuses is met before it is met in earnest: constraints, foreign keys, lengths,
triggers that raise or change a value. Nothing stays, but that sequences have moved on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.engine.change_set import ChangeSet, combined, summarise
from reconciler_dagster.engine.coming import Coming, inserts, lasting, linked
from reconciler_dagster.engine.diff import Staged, stage_plan
from reconciler_dagster.engine.foreseen import foreseen, newly
from reconciler_dagster.engine.local import owners_of, write_of
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres.apply import apply_writes
from reconciler_dagster.postgres.errors import sqlstate
from reconciler_dagster.postgres.fires import Fires, fires, rolled_back
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal
from reconciler_dagster.postgres.writes import MADE_ELSE, Applied, LeadWrite

# In one transaction: others wait for their rows no longer than a blink.
ROWS_TRIED = 200
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass
class Rehearsed:
    """``refused``: by Postgres, or since one side cannot be read. ``unexamined``: leads that
    somebody held meanwhile. ``fires``: see postgres.fires.
    """

    refused: list[Refusal] = field(default_factory=list)
    unexamined: set[str] = field(default_factory=set)
    fires: Fires = field(default_factory=Fires)


def rehearse(
    session: Session,
    staged: Staged,
    changes: Mapping[str, LeadChange],
    triggers: Collection[str] | None = None,
) -> Rehearsed:
    """Rehearse a plan. ``triggers``: names of those to count, with what the definition's own SQL
    makes of the writes; None: nothing is counted.
    """
    out = Rehearsed(refused=list(staged.sides.refused))
    todo = sorted(r for r, change in changes.items() if change.insert or change.to_postgres)
    owners = owners_of(staged, todo)
    for chunk in in_parts(todo, ROWS_TRIED):
        writes = [write_of(session, staged, r, changes[r], owners[r]) for r in chunk]
        try:
            _rehearse_part(session, writes, triggers, out)
        except DBAPIError as error:
            if sqlstate(error) != _LOCK_NOT_AVAILABLE:
                raise
            out.unexamined |= set(chunk)
    return out


def rehearse_runs(sessions: Sequence[Session]) -> dict[str, ChangeSet]:
    """Stage the plans of a dry run, sync by sync, and foresee what each side would refuse of it."""
    rows = {
        session.map.name: {r for _, changes in stage_plan(session) for r in inserts(changes)}
        for session in linked(sessions)
    }
    return {session.map.name: rehearse_run(session, rows) for session in sessions}


def rehearse_run(session: Session, coming: Coming | None = None) -> ChangeSet:
    """The same of one sync. ``coming``: rows that the others would make."""
    return combined(
        foresee(session, staged, changes, coming or {}) for staged, changes in stage_plan(session)
    )


def foresee(
    session: Session, staged: Staged, changes: Mapping[str, LeadChange], coming: Coming
) -> ChangeSet:
    """A part's plan in numbers, with what either side would refuse of it."""
    refused = foreseen(session, changes)
    anew = newly(session, refused)
    by_postgres = lasting(session, rehearse(session, staged, changes).refused, coming)
    return summarise(session.fields, changes, refused + by_postgres, anew)


def _rehearse_part(
    session: Session,
    writes: Sequence[LeadWrite],
    triggers: Collection[str] | None,
    out: Rehearsed,
) -> None:
    fields, users, pair = session.fields, session.users, session.pair
    with rolled_back(session.engine, session.writer) as connection:
        applied = apply_writes(connection, pair, writes, fields, users)
    out.refused += applied.refused
    out.unexamined |= applied.deferred
    if triggers is not None and (triggers or pair.map.is_followed):
        # Anew: the attempts that were refused have fired triggers too.
        with rolled_back(session.engine, session.writer) as connection:
            taken = _taken(writes, applied)
            lost = {(refusal.record_id, refusal.field) for refusal in applied.refused}
            out.fires.add(fires(connection, pair, taken, fields, users, triggers, lost))


def _taken(writes: Sequence[LeadWrite], applied: Applied) -> list[LeadWrite]:
    """The writes without what is left out of them."""
    refused = {(r.record_id, r.field) for r in applied.refused if r.reason != MADE_ELSE}
    return [
        replace(
            write,
            values={c: v for c, v in write.values.items() if (write.record_id, c) not in refused},
        )
        for write in writes
        if write.record_id not in applied.deferred and (write.record_id, WHOLE_LEAD) not in refused
    ]
