"""The call budget: what each base has been called lately, in Postgres, shared by every process.

Airtable counts the calls of any second as they arrive (Airtable facts, section 6). So the last
calls are kept, and a call goes when the one that many before it is a second and a little more ago:
the spare. Nobody holds a slot ahead: who has to wait asks again, so who wakes late, moves or dies
moves nobody. A delta may use up the second at once; the audit and the Great Sync call evenly, and
stand back while a delta is calling.

Why no second sees a sixth call: it goes a second and the spare after the first was noted. The first
may have left later than noted by what is not told, ``UNTOLD`` of the spare, and have been longer on
its way than the sixth, unseen, by what is left of the spare. Anything more is told.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from reconciler_dagster.postgres.connection import at_once
from reconciler_dagster.turns import Turns

# How long after an urgent caller asked the others stand back; a delta's calls follow each other
# faster.
URGENT_SECONDS = 1.0
SLOT_POLL_SECONDS = 0.25
# The share of the spare by which a call may be late and cost nothing. The rest is for ways there
# that differ without anybody here seeing it.
UNTOLD = 1 / 4

# The row is locked before the clock is read, so that nobody's call comes in between.
_TAKE = text("""
    WITH locked AS (
        SELECT arrivals FROM reconciler.call_bucket WHERE base_id = :base_id
          AND locked_until <= clock_timestamp()
          AND (:urgent OR urgent_until <= clock_timestamp())
        FOR UPDATE
    ), asked AS (
        SELECT arrivals, clock_timestamp() AS at FROM locked
    ), slot AS (
        SELECT arrivals, at, greatest(
            at,
            arrivals[:in_window] + make_interval(secs => :window),
            CASE WHEN NOT :urgent THEN arrivals[1] + make_interval(secs => :spacing) END
        ) AS free FROM asked
    ), noted AS (
        UPDATE reconciler.call_bucket b SET
            arrivals = CASE WHEN s.free > s.at THEN s.arrivals ELSE ARRAY(
                SELECT a FROM unnest(s.arrivals || s.at) AS a ORDER BY a DESC LIMIT :in_window) END,
            urgent_until = CASE WHEN :urgent THEN s.at + make_interval(secs => :urgent_seconds)
                ELSE b.urgent_until END
        FROM slot s WHERE b.base_id = :base_id AND (:urgent OR s.free = s.at)
    ), logged AS (
        INSERT INTO reconciler.call_log (base_id, hour, purpose, calls)
        SELECT :base_id, date_trunc('hour', at), :purpose, 1 FROM slot WHERE free = at
        ON CONFLICT (base_id, hour, purpose) DO UPDATE SET calls = call_log.calls + 1
    )
    SELECT CAST(extract(epoch FROM at) * 1000000 AS bigint) AS arrives,
        extract(epoch FROM free - at) AS wait FROM slot
""")
# A call that was late, because it left late or because it was held up on its way.
_LATE = text("""
    UPDATE reconciler.call_bucket SET arrivals = ARRAY(
        SELECT a FROM unnest(array_remove(arrivals, t.noted) || t.arrived) AS a
        ORDER BY a DESC LIMIT :in_window)
    FROM (SELECT timestamptz 'epoch' + :noted * interval '1 microsecond' AS noted,
                 timestamptz 'epoch' + :arrived * interval '1 microsecond' AS arrived) AS t
    WHERE base_id = :base_id
""")

# Of the callers of this process to a base, urgent ones and others, the one whose turn it is.
_TURNS: dict[tuple[str, bool], Turns] = {}


@dataclass(frozen=True)
class Slot:
    """When a call counts as arrived: not before ``began`` by this process' clock
    (``time.monotonic``); ``arrives`` by Postgres' (microseconds since 1970).
    """

    began: float
    arrives: int


class Bucket:
    """The bucket of one base, seen by one caller.

    ``purpose``: what the calls are logged under. ``urgent``: a delta or manual run. ``rank``: who
    of this process goes first, the lowest one.
    """

    def __init__(
        self, engine: Engine, base_id: str, *, purpose: str, urgent: bool, calls_per_second: float
    ) -> None:
        self._engine = engine
        self._in_window = math.ceil(calls_per_second)
        window = self._in_window / calls_per_second
        self._untold = UNTOLD * (window - 1)
        self._slot: dict[str, Any] = {
            "base_id": base_id,
            "purpose": purpose,
            "urgent": urgent,
            "in_window": self._in_window,
            "window": window,
            # Not stretched by the spare: who woke a little late once would stay late.
            "spacing": 1 / self._in_window,
            "urgent_seconds": URGENT_SECONDS,
        }
        self.rank = 0
        self._turns = _TURNS.setdefault((base_id, urgent), Turns())
        with at_once(self._engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO reconciler.call_bucket (base_id) VALUES (:base_id) "
                    "ON CONFLICT DO NOTHING"
                ),
                self._slot,
            )

    def take(self) -> Slot:
        """Wait until a call may go, through a lock-out of another process too, and note it.

        The callers of a process wait one behind the other, so that one of them asks at a time.
        """
        with self._turns.turn(self.rank):
            while True:
                began = time.monotonic()
                with at_once(self._engine) as connection:
                    slot = connection.execute(_TAKE, self._slot).one_or_none()
                if slot is not None and not slot.wait:
                    return Slot(began, slot.arrives)
                time.sleep(SLOT_POLL_SECONDS if slot is None else float(slot.wait))

    def arrived_late(self, slot: Slot, delay: float) -> Slot:
        """Tell that the call of a slot may have arrived so many seconds after it. Returns the slot
        as it counts from now on.
        """
        if delay <= self._untold:
            return slot
        late = Slot(slot.began + delay, slot.arrives + math.ceil(delay * 1_000_000))
        with at_once(self._engine) as connection:
            connection.execute(
                _LATE, {**self._slot, "noted": slot.arrives, "arrived": late.arrives}
            )
        return late

    def lock_out(self, seconds: float, reason: str) -> None:
        """Keep every process from calling this base for so long."""
        with at_once(self._engine) as connection:
            connection.execute(
                text(
                    "UPDATE reconciler.call_bucket SET lock_reason = :reason, locked_until = "
                    "greatest(locked_until, clock_timestamp() + make_interval(secs => :seconds)) "
                    "WHERE base_id = :base_id"
                ),
                {**self._slot, "seconds": seconds, "reason": reason},
            )
