"""A whole creation window: preview what would change, and reconcile it part by part.

Each part is written under the client's lock. What a delta read or wrote after the listing was asked
for is read again first, so that no old answer ever rolls a newer value back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from reconciler_dagster.core import staging_key
from reconciler_dagster.engine import deletions
from reconciler_dagster.engine.change_set import ChangeSet, combined
from reconciler_dagster.engine.coming import Coming, inserts
from reconciler_dagster.engine.diff import Staged, in_numbers, load
from reconciler_dagster.engine.listing import Part, Window, new_part
from reconciler_dagster.engine.pull import stage
from reconciler_dagster.engine.push import write_inbound
from reconciler_dagster.engine.rehearsal import foresee
from reconciler_dagster.engine.rounds import push_all
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    bindings,
    decisions,
    derived,
    leads,
    quarantine,
    staging,
    tombstones,
)
from reconciler_dagster.postgres.connection import analyze_after
from reconciler_dagster.postgres.names import qualified


def preview(session: Session, window: Window, coming: Coming | None = None) -> ChangeSet:
    """What reconciling the window would do, as things stand; of a dry run with what Postgres would
    refuse of it. Writes nothing, takes no lock. ``coming``: rows that the run would make.
    """
    return combined(_preview(session, part, coming or {}) for part in window.parts)


def inserts_of(session: Session, window: Window) -> set[str]:
    """The records of a window that get a row."""
    plans = (load_part(session, part).plan(session) for part in window.parts)
    return {record_id for changes in plans for record_id in inserts(changes)}


def _preview(session: Session, part: Part, coming: Coming) -> ChangeSet:
    staged = load_part(session, part)
    changes = staged.plan(session)
    if session.dry_run:
        return foresee(session, staged, changes, coming)
    return in_numbers(session, changes)


def discard(session: Session, window: Window) -> None:
    """Drop what was staged of a window that is not carried out."""
    with session.engine.begin() as connection:
        for part in window.parts:
            staging.clear(connection, part.key)


@dataclass
class Reconciled:
    """What a person has to know about a window, besides the counts.

    ``unknown``: writes whose answer never came. ``doubts``: why absences were not acted on.
    ``complete``: nothing speaks against the listing.
    """

    unknown: int = 0
    doubts: list[str] = field(default_factory=list)
    complete: bool = True


def reconcile(session: Session, window: Window) -> Reconciled:
    """Carry out a window: its parts, then its absences. Every write is under the client's lock."""
    out = Reconciled()
    session.counts.pulled += window.listed
    with _locked(session, window):
        session.mend_record_ids()
    for part in window.parts:
        out.unknown += _reconcile_part(session, window, part)
    if window.absent:
        with _locked(session, window):
            judged = deletions.judge(
                session, window.scope, window.moment, window.listed, window.absent
            )
        out.doubts += judged.doubts
        out.complete = not judged.cut_short
        if judged.found:
            key = staging_key.beneath(session.key, session.client.id, "found")
            with session.engine.begin() as connection:
                advance = baseline.next_advance(connection)
            part = new_part(session, key, advance)
            part = replace(part, records=len(stage(session, judged.found, key)))
            out.unknown += _reconcile_part(session, window, part)
    if session.map.is_followed:
        with _locked(session, window), session.writing() as connection:
            derived.work_out(connection, session.pair)
    with session.engine.begin() as connection:
        session.counts.quarantined = len(quarantine.records(connection, session.pair))
        session.counts.deletions_pending = decisions.pending(connection, session.pair)
    analyze_after(session.engine, qualified(session.map.table), session.counts.local_writes)
    return out


@contextmanager
def _locked(session: Session, window: Window) -> Iterator[None]:
    """Hold the client. What was listed counts in its own base and table alone: PlaceChanged where
    the client has others by now.
    """
    with session.turn():
        with session.engine.begin() as connection:
            bindings.require(connection, session.pair, window.place)
        yield


def _reconcile_part(session: Session, window: Window, part: Part) -> int:
    """Returns how many writes stayed without an answer."""
    with _locked(session, window):
        staged = _load(session, part.key, _refresh(session, window, part))
        changes = staged.plan(session)
        outbound = write_inbound(session, staged, changes)
        if not outbound:
            _mark_verified(session, staged.records)
    pushed = push_all(session, outbound, lambda: _locked(session, window))
    if outbound:
        with _locked(session, window):
            _mark_verified(session, staged.records.keys() - pushed.gone)
    with session.engine.begin() as connection:
        staging.clear(connection, part.key)
    return len(pushed.unknown)


def _refresh(session: Session, window: Window, part: Part) -> AbstractSet[str]:
    """Read again what somebody read or wrote since the listing was asked for; all of the part
    where the fields were bound anew meanwhile. Returns the records that are there now.
    """
    session.check_mapping()
    field_ids = session.bound.ids_by_column
    with session.engine.connect() as connection:
        there = staging.whole(connection, part.key, part.records)
        stale = there
        if field_ids == window.field_ids:
            stale = set(baseline.advanced_since(connection, session.pair, part.key, part.advance))
    if not stale:
        return there
    records = session.base.read(session.table_id, sorted(stale), session.bound.field_ids)
    with session.engine.begin() as connection:
        staging.drop_records(connection, part.key, stale)
    return (there - stale) | stage(session, records, part.key)


def load_part(session: Session, part: Part) -> Staged:
    """A part as it was listed, and the leads of its records as these are now. Raises StagingLost
    where it is not whole any more.
    """
    with session.engine.connect() as connection:
        record_ids = staging.whole(connection, part.key, part.records)
    return _load(session, part.key, record_ids)


def _load(session: Session, key: str, record_ids: AbstractSet[str]) -> Staged:
    leads.stage_leads(
        session.engine, key, session.pair, session.fields.columns, record_ids, edited=False
    )
    return load(session, key, record_ids, remote=record_ids, may_assume=False)


def _mark_verified(session: Session, record_ids: Iterable[str]) -> None:
    there = list(record_ids)
    with session.writing() as connection:
        tombstones.note_returned(connection, session.pair, session.run_id, there)
        baseline.mark_verified(connection, session.pair, there)
