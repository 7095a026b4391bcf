"""The call budget: one token bucket per base in Postgres, shared by every process that calls.

Slots are handed out evenly spaced, so no sliding second ever sees more than the limit (Airtable
facts, section 6). While a delta run is calling, the audit and the Great Sync stand back.
"""

from __future__ import annotations

import time

from sqlalchemy import Engine, text

# How long after an urgent call the others stand back; a delta's calls follow each other faster.
URGENT_SECONDS = 2.0
POLL_SECONDS = 0.25

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
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._base_id = base_id
        self._slot = {
            "base_id": base_id,
            "purpose": purpose,
            "urgent": urgent,
            "spacing": 1 / calls_per_second,
            "urgent_seconds": URGENT_SECONDS,
        }
        with self._engine.connect() as connection:
            connection.execute(
                text(
                    "INSERT INTO reconciler.call_bucket (base_id) VALUES (:base_id) "
                    "ON CONFLICT DO NOTHING"
                ),
                {"base_id": base_id},
            )

    def take(self) -> None:
        """Wait for a slot; through a lock-out of another process too."""
        while True:
            with self._engine.connect() as connection:
                wait = connection.execute(_TAKE, self._slot).scalar()
            if wait is None:
                time.sleep(POLL_SECONDS)
                continue
            time.sleep(max(0.0, float(wait)))
            if self._may_go():
                return

    def lock_out(self, seconds: float, reason: str) -> None:
        """Keep every process from calling this base for so long."""
        with self._engine.connect() as connection:
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
        with self._engine.connect() as connection:
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
