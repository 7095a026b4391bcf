"""At most one writing run per client, whoever started it: a lease that is renewed while it is held.

No session holds anything, so it works through a pooler and over several machines. A holder that
dies is followed at once where that can be seen, else when its lease has expired. One that is only
held up, and goes on later, writes nothing: each writing transaction checks the lease's number, and
each write to Airtable the time that is left, by this process' own clock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres import adoption, lease
from reconciler_dagster.postgres.connection import at_once
from reconciler_dagster.processes import has_ended, this_process

LOCK_POLL_SECONDS = 0.5
LEASE_SECONDS = 30.0
# How long somebody who waits is seen after the last look; of a dead one no longer.
WAITING_SECONDS = 5.0

# What it may look like when Postgres is away for a while.
_AWAY = (SQLAlchemyError, ConfigurationError)


class ClientBusy(Exception):
    """Another run writes for this client."""


class LeaseLost(Exception):
    """Another run may write for this client since this one has read: pull again."""


@contextmanager
def client_lock(
    engine: Engine,
    client_id: str,
    run_id: str,
    patience: float,
    *,
    yielding: bool = False,
    seconds: float = LEASE_SECONDS,
) -> Iterator[None]:
    """Hold the client for the length of the block, waiting up to ``patience`` seconds for it.

    ``yielding``: let everybody go ahead who does not yield; for a run that comes back for the
    lock again and again. ``seconds``: the length of the lease, renewed every third of it; the same
    for all who use the database. Raises ClientBusy when the wait was in vain.
    """
    held = _take(engine, client_id, run_id, patience, yielding, seconds)
    key = client_id, run_id
    renewing = threading.Thread(target=held.keep, name=f"lease of {client_id}", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        if _HELD.get(key) is held:  # not in a process that was forked from the holder
            del _HELD[key]
            held.done.set()
            held.let_go()
            renewing.join(seconds)


def require_lease(connection: Connection, client_id: str, run_id: str) -> None:
    """Raise LeaseLost unless this run holds the client, and will until the transaction ends."""
    held = _held(client_id, run_id)
    held.require_time()
    held.require_holder(run_id, *lease.holder_of(connection, client_id))


def require_may_write(connection: Connection, client_id: str, sync: str, run_id: str) -> None:
    """Raise LeaseLost unless this run holds the client, and core.adoption.NotAdopted unless this
    sync of it may be written; both stay so until the transaction ends.
    """
    held = _held(client_id, run_id)
    held.require_time()
    holder, fence, given = lease.holder_and_consent(connection, client_id, sync)
    held.require_holder(run_id, holder, fence)
    if not given:
        adoption.standing(connection, client_id).require(sync)


def require_time(client_id: str, run_id: str) -> None:
    """Raise LeaseLost unless this run holds the client for long enough to begin a call."""
    _held(client_id, run_id).require_time()


class _Held:
    """A lease of this process. ``done``: the block has ended."""

    def __init__(
        self, engine: Engine, client_id: str, fence: int, seconds: float, asked: float
    ) -> None:
        self.fence, self.seconds, self.done = fence, seconds, threading.Event()
        self._engine, self._client_id = engine, client_id
        # By our own clock, and certainly not after the lease expires.
        self._until = asked + seconds
        self._lost = False

    def keep(self) -> None:
        """Renew every third of the lease's length; more often while Postgres is away."""
        pause = self.seconds / 3
        while not self.done.wait(pause) and not self._lost:
            pause = self.seconds / (3 if self._renew() else 30)

    def require_time(self) -> None:
        """Raise LeaseLost where less than a third is left and cannot be renewed."""
        if _now() > self._until - self.seconds / 3:
            self._renew()
        if self._lost:
            raise _lost(self._client_id, "Another run took it over")
        if _now() > self._until - self.seconds / 3:
            raise _lost(self._client_id, "Its lease ran out and cannot be renewed")

    def require_holder(self, run_id: str, holder: str, fence: int) -> None:
        """Raise LeaseLost where Postgres names another run or number."""
        if (holder, fence) != (run_id, self.fence):
            raise _lost(self._client_id, f"Run {holder} took it over")

    def let_go(self) -> None:
        """What cannot be given back, since Postgres is away, expires; and hides no other error."""
        with suppress(*_AWAY), at_once(self._engine) as connection:
            lease.let_go(connection, self._client_id, self.fence)

    def _renew(self) -> bool:
        asked = _now()
        try:
            with at_once(self._engine) as connection:
                renewed = lease.renew(connection, self._client_id, self.fence, self.seconds)
        except _AWAY:
            return False
        if renewed:
            self._until = asked + self.seconds
        else:
            self._lost = True
        return renewed


# What this process holds, by client and run. A process that is forked from it holds nothing.
_HELD: dict[tuple[str, str], _Held] = {}
os.register_at_fork(after_in_child=_HELD.clear)


def _held(client_id: str, run_id: str) -> _Held:
    try:
        return _HELD[client_id, run_id]
    except KeyError:
        raise _lost(client_id, "This process does not hold it") from None


def _lost(client_id: str, why: str) -> LeaseLost:
    return LeaseLost(
        f"Client {client_id} may have been written for after this run had read it: run again. "
        f"({why}.)"
    )


def _take(
    engine: Engine, client_id: str, run_id: str, patience: float, yielding: bool, seconds: float
) -> _Held:
    deadline = time.monotonic() + patience
    waiting = _Waiting()
    try:
        while True:
            asked = _now()
            with at_once(engine) as connection:
                seen = lease.read(connection, client_id, run_id)
                if waiting.may_take(seen, yielding):
                    own = this_process()
                    fence = lease.take(connection, client_id, run_id, own, seconds, seen)
                    if fence is not None:  # known here before anybody can see it
                        held = _Held(engine, client_id, fence, seconds, asked)
                        _HELD[client_id, run_id] = held
                        return held
                if not yielding:
                    lease.wait(connection, client_id, run_id, WAITING_SECONDS)
                    waiting.noted = True
            if time.monotonic() >= deadline:
                raise ClientBusy(
                    f"Run {seen.run_id} is writing for client {client_id}: "
                    "try again when it is done."
                )
            time.sleep(LOCK_POLL_SECONDS / 5 if yielding else LOCK_POLL_SECONDS)
    finally:
        if waiting.noted:
            with suppress(*_AWAY), at_once(engine) as connection:
                lease.stop_waiting(connection, client_id, run_id)


class _Waiting:
    """One who waits. ``noted``: to be seen by those who yield."""

    def __init__(self) -> None:
        self.noted = False
        self._last: tuple[int, object] | None = None
        self._since = 0.0

    def may_take(self, seen: lease.Lease, yielding: bool) -> bool:
        """Whether the lease has no living holder, and nobody goes first.

        Postgres' clock may be set back while somebody holds a lease: what was not renewed for its
        whole length, by our own clock, has expired too.
        """
        now, found = time.monotonic(), (seen.fence, seen.renewed_at)
        if found != self._last:
            self._last, self._since = found, now
        stale = now - self._since > seen.seconds
        free = seen.expired or stale or has_ended(seen.holder) or _left(seen)
        return free and not (yielding and seen.wanted)


def _left(seen: lease.Lease) -> bool:
    """Whether it is of this very process, which could not give it back when it was done."""
    ours = seen.holder == this_process()
    return ours and all(held.fence != seen.fence for held in list(_HELD.values()))


def _now() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
