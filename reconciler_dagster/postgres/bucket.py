"""The call budget: one token bucket per base in Postgres, shared by every process that calls.

Slots are handed out evenly spaced, so no sliding second ever sees more than the limit (Airtable
facts, section 6). While a delta run is calling, the audit and the Great Sync stand back.
"""

from __future__ import annotations

import math
import time
from threading import Lock
from typing import Any

from sqlalchemy import Engine, TextClause, text

from reconciler_dagster.postgres.connection import at_once

# How long after an urgent call the others stand back; a delta's calls follow each other faster.
URGENT_SECONDS = 1.0
POLL_SECONDS = 0.25

# Airtable counts the calls of any second, and on its side: a call that was late, because whoever
# made it woke late or because it was held up on its way, counts among the ones that follow it.
WINDOW_SECONDS = 1.0

# The call `in_window` places after a late one must come a whole window after it arrived. How many
# calls have been given a slot since is read off the even spacing of the slots.
_LATE = """
    UPDATE reconciler.call_bucket SET next_slot = greatest(next_slot, {soonest},
        clock_timestamp() - make_interval(secs => :ago - :late - :window + (:in_window
            - least(:in_window, greatest(0, floor(extract(epoch FROM next_slot - clock_timestamp()
                + make_interval(secs => :ago)) / :spacing + 0.1)))) * :spacing))
    WHERE base_id = :base_id
"""
_ARRIVED_LATE = text(_LATE.format(soonest="next_slot"))
# Also, two calls never come closer than they should.
_GO = text(
    _LATE.format(soonest="clock_timestamp() + make_interval(secs => :spacing)")
    + " RETURNING locked_until <= clock_timestamp()"
)
_TAKE = text("""
    WITH slot AS (
        UPDATE reconciler.call_bucket SET
            next_slot = greatest(next_slot, clock_timestamp()) + make_interval(secs => :spacing),
            urgent_until = CASE WHEN :urgent
                THEN clock_timestamp() + make_interval(secs => :urgent_seconds)
                ELSE urgent_until END
        WHERE base_id = :base_id
          AND locked_until <= clock_timestamp()
          AND (:urgent OR urgent_until <= clock_timestamp())
        RETURNING extract(epoch FROM next_slot - clock_timestamp()) - :spacing AS wait
    ), logged AS (
        INSERT INTO reconciler.call_log (base_id, hour, purpose, calls)
        SELECT :base_id, date_trunc('hour', clock_timestamp()), :purpose, 1 FROM slot
        ON CONFLICT (base_id, hour, purpose) DO UPDATE SET calls = call_log.calls + 1
    )
    SELECT wait FROM slot
""")


# Of the callers of this process to a base, urgent ones and others, the one whose turn it is.
_TURNS: dict[tuple[str, bool], Lock] = {}


class Bucket:
    """The bucket of one base, seen by one caller.

    ``purpose``: what the calls are logged under. ``urgent``: a delta or manual run.
    ``spacing``: seconds between two calls of the base, whoever makes them.
    """

    def __init__(
        self, engine: Engine, base_id: str, *, purpose: str, urgent: bool, calls_per_second: float
    ) -> None:
        self._engine = engine
        self._base_id = base_id
        self._slot: dict[str, Any] = {
            "base_id": base_id,
            "purpose": purpose,
            "urgent": urgent,
            "spacing": 1 / calls_per_second,
            "urgent_seconds": URGENT_SECONDS,
        }
        self._turn = _TURNS.setdefault((base_id, urgent), Lock())
        self._in_window = math.ceil(WINDOW_SECONDS * calls_per_second)
        with at_once(self._engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO reconciler.call_bucket (base_id) VALUES (:base_id) "
                    "ON CONFLICT DO NOTHING"
                ),
                {"base_id": base_id},
            )

    def take(self) -> float:
        """Wait for a slot; through a lock-out of another process too. Returns when it began
        (``time.monotonic``).

        The callers of a process wait one behind the other, so that it holds one slot ahead at the
        most: whoever is urgent waits for no row of them.
        """
        with self._turn:
            while True:
                with at_once(self._engine) as connection:
                    asked = time.monotonic()
                    wait = connection.execute(_TAKE, self._slot).scalar()
                if wait is None:
                    time.sleep(POLL_SECONDS)
                    continue
                slot = asked + max(0.0, float(wait))
                time.sleep(max(0.0, slot - time.monotonic()))
                if self._tell(_GO, slot, time.monotonic() - slot):
                    return slot

    def arrived_late(self, slot: float, delay: float) -> None:
        """Tell that the call of a slot may have arrived so many seconds after it."""
        if delay > self._in_window * self._slot["spacing"] - WINDOW_SECONDS:
            self._tell(_ARRIVED_LATE, slot, delay)  # else the spacing allows for it

    def _tell(self, statement: TextClause, slot: float, late: float) -> bool:
        """Move the slots after a late call. Returns whether the base is open, where it is asked."""
        parameters = {
            "base_id": self._base_id,
            "spacing": self._slot["spacing"],
            "in_window": self._in_window,
            "window": WINDOW_SECONDS,
            "late": late,
            "ago": time.monotonic() - slot,
        }
        with at_once(self._engine) as connection:
            told = connection.execute(statement, parameters)
            return bool(told.scalar()) if told.returns_rows else True

    def lock_out(self, seconds: float, reason: str) -> None:
        """Keep every process from calling this base for so long."""
        with at_once(self._engine) as connection:
            connection.execute(
                text(
                    "UPDATE reconciler.call_bucket SET lock_reason = :reason, locked_until = "
                    "greatest(locked_until, clock_timestamp() + make_interval(secs => :seconds)) "
                    "WHERE base_id = :base_id"
                ),
                {"base_id": self._base_id, "seconds": seconds, "reason": reason},
            )
