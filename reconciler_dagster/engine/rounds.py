"""Carry leads over to Airtable by the hundred: read, merge, write, send; and come back to the rest.

While a hundred is on its way, the next one is read and written here, so that the senders never wait
for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from reconciler_dagster.core import staging_key
from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.source import ATTEMPTS, LOCKOUTS_BORNE, PAGE, NotSent, Unavailable
from reconciler_dagster.engine import send
from reconciler_dagster.engine.ahead import Ahead, Reading, read_now
from reconciler_dagster.engine.answer import Round, Sent
from reconciler_dagster.engine.diff import load
from reconciler_dagster.engine.gone import refuse_gone
from reconciler_dagster.engine.local import write_local
from reconciler_dagster.engine.pull import is_suspect, stage
from reconciler_dagster.engine.send import OnItsWay
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import leads, staging

HUNDRED = PAGE
# How often one run sends a record whose answer was lost.
ROUNDS = 3
# So long before the senders run dry the next hundred is read: a second until it is the reading's
# turn, one for the answer, and one to write here what came of it.
AHEAD_SECONDS = 3.0


@dataclass
class Pushed:
    """What a person has to know about a push, besides the counts.

    ``unknown``: records whose answer never came; the next run settles them by comparing.
    ``unsent``: see engine.answer.Sent. ``gone``: records that Airtable does not have any more.
    ``late``: records whose reading was old once their leads were written.
    """

    unknown: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    unsent: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)


def push_all(
    session: Session,
    record_ids: list[str],
    locked: Callable[[], AbstractContextManager[None]] | None = None,
) -> Pushed:
    """Push leads by the hundred and come back to what was not answered or not sent: always to what
    both sides hold then.

    ``locked``: taken for each hundred, from its reading to its last answer; without it the caller
    holds the client. Raises what Airtable said where it keeps refusing to be written to.
    """
    pushed, todo = Pushed(), record_ids
    lost = lockouts = failures = 0
    while todo and lost < ROUNDS:
        pushed.unknown, pushed.unsent = set(), set()
        why = _push_round(session, list(in_parts(todo, HUNDRED)), pushed, locked)
        todo = sorted(pushed.unknown | pushed.unsent)
        lost += bool(pushed.unknown)
        if why is None:
            continue
        if isinstance(why, Unavailable):
            failures += 1
            time.sleep(min(2**failures, 40) * session.settings.retry_seconds)
        else:  # the next reading waits until the lock-out is over
            lockouts += 1
        if failures == ATTEMPTS or lockouts == LOCKOUTS_BORNE:
            raise why
    pushed.unknown |= pushed.unsent
    return pushed


def _push_round(
    session: Session,
    hundreds: list[list[str]],
    pushed: Pushed,
    locked: Callable[[], AbstractContextManager[None]] | None,
) -> NotSent | None:
    """Returns why Airtable takes no more for now, if so."""
    # The senders end first: none sends on while a reading is waited for.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="read") as reader,
        send.senders(session) as senders,
    ):
        going, ahead = _Round(session, senders, pushed), Ahead(session, reader)
        for hundred, following in zip(hundreds, [*hundreds[1:], []], strict=True):
            if going.shared.why is not None:
                pushed.unsent |= set(hundred)
            elif locked is not None:
                with locked():
                    going.begin(read_now(session, hundred))
                    going.end()
            else:
                going.begin(ahead.take(hundred))
                going.wait_until_almost_done()
                if going.shared.why is None:
                    ahead.begin(following)
                going.end(but=1)
        going.end()
    return going.shared.why


@dataclass
class _Round:
    """What is on its way to Airtable: up to two hundreds, of which the first is ended first."""

    session: Session
    senders: ThreadPoolExecutor
    pushed: Pushed
    shared: Round = field(default_factory=Round)
    on_their_way: list[OnItsWay] = field(default_factory=list)

    def begin(self, reading: Reading) -> None:
        """Merge what both sides of up to 100 leads hold now, write here, and hand on what is to be
        sent. What moved since the pull goes through the merge like everything else.
        """
        session, pushed = self.session, self.pushed
        key = staging_key.beneath(session.key, "push")
        bound = session.bound
        if reading.field_ids != bound.field_ids:
            reading = read_now(session, reading.record_ids)
        found = _stage_anew(session, key, reading)
        if is_suspect(session, key):
            self.end()  # what is being sent was read and is answered with the fields as they were
            if session.check_mapping(force=True).stops_more_than(bound):
                reading = read_now(session, reading.record_ids)
                found = _stage_anew(session, key, reading)
        record_ids = reading.record_ids
        leads.stage_leads(
            session.engine, key, session.pair, session.fields.columns, record_ids, edited=False
        )
        staged = load(session, key, record_ids, remote=found, may_assume=False)
        changes = staged.plan(session)
        gone = set(record_ids) - found
        pushed.gone |= gone
        with self.shared.lock:
            refuse_gone(session, staged, gone)
            outbound = write_local(session, staged, changes, sorted(found))
        with session.engine.begin() as connection:
            staging.clear(connection, key)
        late = time.monotonic() - reading.at > send.FRESH_SECONDS and outbound.keys() - pushed.late
        if late:  # somebody held their rows: once more, but not for ever
            pushed.late |= late
            pushed.unsent |= outbound.keys()
            return
        self.on_their_way.append(
            send.begin(
                session,
                self.senders,
                staged,
                outbound,
                Sent(self.shared, reading.at, first=not self.on_their_way),
            )
        )

    def wait_until_almost_done(self) -> None:
        """Until the senders have work for so many seconds as the next hundred takes to be read."""
        calls = int(AHEAD_SECONDS * self.session.settings.calls_per_second)
        batches = [batch for one in self.on_their_way for batch in one.batches]
        for batch in batches[: -max(1, calls)]:
            batch.result()

    def end(self, *, but: int = 0) -> None:
        """Wait for all answers, except of so many hundreds, and note what came of them."""
        while len(self.on_their_way) > but:
            one = self.on_their_way[0]
            send.end(self.session, one)
            del self.on_their_way[0]
            self.pushed.unknown |= one.sent.unknown
            self.pushed.unsent |= one.sent.unsent
            self.pushed.sent |= one.sent.acknowledged | one.sent.unknown


def _stage_anew(session: Session, key: str, reading: Reading) -> set[str]:
    with session.engine.begin() as connection:
        staging.clear(connection, key)
        # So that what a run that is killed here leaves behind is found and dropped.
        staging.stage_pull(connection, key, session.client.id, {"part": key})
    return stage(session, reading.records, key=key)
