"""The call budget: one token bucket per base in Postgres, shared by every process that calls.

Slots are handed out evenly spaced, so no sliding second ever sees more than the limit (Airtable
facts, section 6). While a delta run is calling, the audit and the Great Sync stand back.
"""

from __future__ import annotations

import math
import time
from typing import Any

from sqlalchemy import Engine, text

from reconciler_dagster.postgres.connection import at_once

# How long after an urgent call the others stand back; a delta's calls follow each other faster.
URGENT_SECONDS = 1.0
POLL_SECONDS = 0.25

# Airtable counts the calls of any second, and on its side: a call that was held up on its way
# counts later than it was sent, and so among the ones that follow it.
WINDOW_SECONDS = 1.0
# A guess on the safe side: a slot given away costs a fraction of a second, a 429 costs everybody
# half a minute.
LONGEST_DELAY = 1.0

# The call `in_window` places after a delayed one must come a whole window after it arrived. How
# many calls have been given a slot since is read off the even spacing of the slots.
_DELAYED = text("""
    WITH call AS (
        SELECT clock_timestamp() - make_interval(secs => :elapsed) AS slot
    ), since AS (
        -- The tenth: the caller measures from a little after its slot.
        SELECT slot, least(:in_window, greatest(0, floor(
            extract(epoch FROM next_slot - slot) / :spacing + 0.1))) AS calls
        FROM call, reconciler.call_bucket WHERE base_id = :base_id
    )
    UPDATE reconciler.call_bucket SET next_slot = greatest(next_slot, slot + make_interval(
        secs => :delay + :window - (:in_window - calls) * :spacing))
    FROM since WHERE base_id = :base_id
""")
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
        """
        while True:
            with at_once(self._engine) as connection:
                asked = time.monotonic()
                wait = connection.execute(_TAKE, self._slot).scalar()
            if wait is None:
                time.sleep(POLL_SECONDS)
                continue
            seconds = max(0.0, float(wait))
            time.sleep(seconds)
            if self._may_go():
                return asked + seconds

    def delayed(self, elapsed: float, delay: float) -> None:
        """Tell that a call of ``elapsed`` seconds ago may have arrived ``delay`` seconds late."""
        spacing = self._slot["spacing"]
        in_window = math.ceil(WINDOW_SECONDS / spacing)
        if delay <= in_window * spacing - WINDOW_SECONDS:
            return  # the spacing allows for it
        with at_once(self._engine) as connection:
            connection.execute(
                _DELAYED,
                {
                    "base_id": self._base_id,
                    "elapsed": elapsed,
                    "delay": min(delay, LONGEST_DELAY),
                    "window": WINDOW_SECONDS,
                    "in_window": in_window,
                    "spacing": spacing,
                },
            )

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

    def _may_go(self) -> bool:
        """Whether the base is still open. Whoever woke late pushes the next slot on, so that two
        calls never come closer than they should.
        """
        with at_once(self._engine) as connection:
            return bool(
                connection.execute(
                    text(
                        "UPDATE reconciler.call_bucket SET next_slot = greatest(next_slot, "
                        "clock_timestamp() + make_interval(secs => :spacing)) "
                        "WHERE base_id = :base_id RETURNING locked_until <= clock_timestamp()"
                    ),
                    {"base_id": self._base_id, "spacing": self._slot["spacing"]},
                ).scalar()
            )
