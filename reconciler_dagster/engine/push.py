"""Act: carry out the staged plan on both sides, then move the cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from reconciler_dagster.core import staging_key
from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.rehearsal import WORTH_READING_BACK
from reconciler_dagster.core.source import ATTEMPTS, LOCKOUTS_BORNE, PAGE, NotSent, Unavailable
from reconciler_dagster.engine import deletions, send
from reconciler_dagster.engine.ahead import Ahead, Reading, read_now
from reconciler_dagster.engine.diff import Staged, load, parts
from reconciler_dagster.engine.gone import refuse_gone
from reconciler_dagster.engine.local import write_local
from reconciler_dagster.engine.pull import SEEN_MARGIN, Pulled, decode, looks_off, stage
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import (
    baseline,
    cursor,
    decisions,
    derived,
    journal,
    leads,
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
# How often one run sends a record whose answer was lost.
ROUNDS = 3


@dataclass
class Pushed:
    """What a person has to know about a push, besides the counts.

    ``unknown``: records whose answer never came; the next run settles them by comparing.
    ``unsent``, ``why``: see engine.send.Sent. ``gone``: records that Airtable does not have any
    more. ``late``: records whose reading was old once their leads were written.
    """

    unknown: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    unsent: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    why: NotSent | None = None


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


def push_all(
    session: Session,
    record_ids: list[str],
    locked: Callable[[], AbstractContextManager[None]] | None = None,
) -> Pushed:
    """Push leads by the hundred and come back to what was not answered or not sent: always to what
    both sides hold then.

    ``locked``: taken for each hundred; without it the caller holds the client, and the next hundred
    is read while this one is being sent. Raises what Airtable said where it keeps refusing to be
    written to.
    """
    pushed, todo = Pushed(), record_ids
    lost = lockouts = failures = 0
    while todo and lost < ROUNDS:
        pushed.unknown, pushed.unsent, pushed.why = set(), set(), None
        _push_round(session, list(in_parts(todo, PAGE)), pushed, locked)
        todo = sorted(pushed.unknown | pushed.unsent)
        lost += bool(pushed.unknown)
        if pushed.why is None:
            continue
        if isinstance(pushed.why, Unavailable):
            failures += 1
            time.sleep(min(2**failures, 40) * session.settings.retry_seconds)
        else:  # the next reading waits until the lock-out is over
            lockouts += 1
        if failures == ATTEMPTS or lockouts == LOCKOUTS_BORNE:
            raise pushed.why
    pushed.unknown |= pushed.unsent
    return pushed


def _push_round(
    session: Session,
    todo: list[list[str]],
    pushed: Pushed,
    locked: Callable[[], AbstractContextManager[None]] | None,
) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        ahead = Ahead(session, pool)
        for number, chunk in enumerate(todo):
            if pushed.why is not None:
                pushed.unsent |= set(chunk)
            elif locked is not None:
                with locked():
                    push_chunk(session, read_now(session, chunk), pushed)
            else:
                following = todo[number + 1] if number + 1 < len(todo) else []
                push_chunk(session, ahead.take(chunk), pushed, partial(ahead.begin, following))


def push_chunk(
    session: Session,
    reading: Reading,
    pushed: Pushed,
    almost_done: Callable[[], None] = lambda: None,
) -> None:
    """Up to 100 leads: merge what both sides hold now, write, send.

    What moved since the pull goes through the merge like everything else. ``almost_done``: see
    ``send``.
    """
    key = staging_key.beneath(session.key, "push")
    bound = session.bound
    if reading.field_ids != bound.field_ids:
        reading = read_now(session, reading.record_ids)
    found = _stage_anew(session, key, reading)
    if looks_off(session, key, bound):
        reading = read_now(session, reading.record_ids)
        found = _stage_anew(session, key, reading)
    record_ids = reading.record_ids
    leads.stage_leads(
        session.engine, key, session.pair, session.fields.columns, record_ids, edited=False
    )
    staged = load(session, key, record_ids, remote=found, may_assume=False)
    gone = set(record_ids) - found
    pushed.gone |= gone
    refuse_gone(session, staged, gone)
    outbound = write_local(session, staged, staged.plan(session), sorted(found))
    late = time.monotonic() - reading.at > send.FRESH_SECONDS and outbound.keys() - pushed.late
    if late:  # somebody held their rows: once more, but not for ever
        pushed.late |= late
        pushed.unsent |= outbound.keys()
    else:
        sent = send.send(session, staged, outbound, reading.at, almost_done)
        pushed.unknown |= sent.unknown
        pushed.unsent |= sent.unsent
        pushed.why = sent.why
        pushed.sent |= sent.acknowledged | sent.unknown
    with session.engine.begin() as connection:
        staging.clear(connection, key)


def _stage_anew(session: Session, key: str, reading: Reading) -> set[str]:
    with session.engine.begin() as connection:
        staging.clear(connection, key)
        # So that what a run that is killed here leaves behind is found and dropped.
        staging.stage_pull(connection, key, session.client.id, {"part": key})
    return stage(session, reading.records, key=key)


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
