"""Act: carry out the staged plan on both sides, then move the cursor."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.rehearsal import WORTH_READING_BACK
from reconciler_dagster.engine import deletions
from reconciler_dagster.engine.diff import Staged, parts
from reconciler_dagster.engine.gone import refuse_gone
from reconciler_dagster.engine.local import write_local
from reconciler_dagster.engine.pull import SEEN_MARGIN, Pulled, decode
from reconciler_dagster.engine.rounds import Pushed, push_all
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    cursor,
    decisions,
    derived,
    journal,
    own_writes,
    quarantine,
    staging,
    tombstones,
    totals,
)
from reconciler_dagster.postgres.connection import analyze_after, at_once
from reconciler_dagster.postgres.lock import require_lease
from reconciler_dagster.postgres.names import qualified
from reconciler_dagster.postgres.staging import StagedRecord

LOCAL_CHUNK = 500


def push(session: Session) -> Pushed:
    """Carry out the plan that was staged under this session's run id."""
    with session.engine.begin() as connection:
        require_lease(connection, session.client.id, session.run_id)
        pulled = Pulled(**staging.pull(connection, session.key))
        before = cursor.load(connection, session.pair)
    if before is not None and pulled.window is None and not pulled.everything:
        session.lags.listed_before(before.age.total_seconds())
    outbound: list[str] = []
    read: set[str] = set()
    for staged, changes in parts(session, pulled):
        refuse_gone(session, staged, staged.record_ids.intersection(pulled.gone))
        outbound += write_inbound(session, staged, changes)
        read |= staged.records.keys()
    pushed = push_all(session, outbound)
    _finish(session, pulled, read, pushed)
    analyze_after(session.engine, qualified(session.map.table), session.counts.local_writes)
    return pushed


def write_inbound(session: Session, staged: Staged, changes: Mapping[str, LeadChange]) -> list[str]:
    """Write what needs no call of a part's plan. Returns the records that do: these are pushed."""
    outbound = [record_id for record_id, change in changes.items() if change.to_airtable]
    inbound = sorted(_busy(session, staged, changes) - set(outbound))
    for chunk in in_parts(inbound, LOCAL_CHUNK):
        write_local(session, staged, changes, chunk)
    return outbound


def _busy(session: Session, staged: Staged, changes: Iterable[str]) -> set[str]:
    """Records that something is to be done about, if only to be settled or released."""
    with session.engine.connect() as connection:
        waiting = journal.open_entries(connection, session.pair, staged.record_ids).keys()
        held = quarantine.records(connection, session.pair, staged.record_ids)
    edited = {record_id for record_id, lead in staged.leads.items() if lead.revisions}
    refused = {refusal.record_id for refusal in staged.sides.refused}
    rewritten = {record_id for record_id, _ in staged.own_writes}
    fought = {record_id for record_id, _ in staged.fought}
    return (
        set(changes) | waiting | held | edited | refused | rewritten | fought
    ) & staged.sides.remote.keys()


def _finish(session: Session, pulled: Pulled, read: set[str], pushed: Pushed) -> None:
    """Everything is in: move the cursor, and note what was verified."""
    there = list(read - pushed.gone)
    if there:
        with session.writing() as connection:
            tombstones.note_returned(connection, session.pair, session.run_id, there)
    deletions.carry_out_approved(session)
    moment = datetime.fromisoformat(pulled.moment)
    ago = datetime.now(UTC) - datetime.fromisoformat(pulled.noted_at)
    seen, moves = read, pulled.window is None or pulled.everything
    if moves:
        if len(pushed.sent) > WORTH_READING_BACK and not pushed.unknown:
            echo = _read_echo(session, moment)
            if echo is not None:
                moment, seen = echo[0], seen | echo[1]
                ago = datetime.now(UTC) - session.base.clock.noted_at
        if len(seen) > cursor.LONGEST_LEFT_OUT:
            seen = set()
    with session.writing() as connection:
        if moves and session.writer == "first_contact":
            derived.work_out(connection, session.pair)
        if moves:
            cursor.move(
                connection, session.pair, session.run_id, moment, seen, session.overlap, ago
            )
        if pulled.window is not None:
            baseline.mark_verified(connection, session.pair, there)
        session.counts.quarantined = len(quarantine.records(connection, session.pair))
        session.counts.deletions_pending = decisions.pending(connection, session.pair)
        staging.clear(connection, session.key)
    if arrived := session.lags.take():
        with at_once(session.engine) as connection:  # nobody who waits for the client waits for it
            totals.add_arrived(connection, session.client.id, arrived)


def _read_echo(session: Session, moment: datetime) -> tuple[datetime, set[str]] | None:
    """Read our own writes back, so that the next delta can leave them out.

    Only worth its calls after more writes than a page shows. None where somebody else edited
    meanwhile: the next delta then reads from the earlier moment, as usual.
    """
    # Two seconds more: one is cut off from Airtable's times, one is lost to the answer's way here.
    time.sleep(SEEN_MARGIN.total_seconds() + 2)
    session.base.clock.reset()
    found: set[str] = set()
    for page in session.base.changed_since(session.table_id, session.bound.field_ids, moment):
        records = {record.record_id: record for record in decode(session, page)}
        if not _all_agreed(session, records):
            return None
        found |= records.keys()
    with session.engine.begin() as connection:
        own = own_writes.runs(connection, session.pair, found)
        own_writes.forget(connection, session.pair, own)
    return session.base.clock.earliest or datetime.now(UTC), found


def _all_agreed(session: Session, records: Mapping[str, StagedRecord]) -> bool:
    with session.engine.connect() as connection:
        agreed = baseline.load(connection, session.pair, records)
    for record_id, record in records.items():
        known = agreed[record_id].fields if record_id in agreed else {}
        agrees = all(c in known and known[c] == value for c, value in record.fields.items())
        if record.unreadable or not agrees:
            return False
    return True
