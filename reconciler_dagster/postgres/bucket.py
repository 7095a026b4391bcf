"""The call budget: what each base has been called lately, in Postgres, shared by every process.

Airtable counts the calls of any second as they arrive (Airtable facts, section 6). So the arrivals
of the last calls are kept, and a call goes when the one that many before it is a second and a
little more ago. A delta may use up the second at once; the audit and the Great Sync call evenly,
and stand back while a delta is calling.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Engine, TextClause, text

from reconciler_dagster.postgres.connection import at_once

# How long after an urgent call the others stand back; a delta's calls follow each other faster.
URGENT_SECONDS = 1.0
POLL_SECONDS = 0.25

# The row is locked before the clock is read, so that nobody's call comes in between.
_TAKE = text("""
    WITH locked AS (
        SELECT arrivals FROM reconciler.call_bucket WHERE base_id = :base_id
          AND locked_until <= clock_timestamp()
          AND (:urgent OR urgent_until <= clock_timestamp())
        FOR UPDATE
    ), slot AS (
        SELECT arrivals, greatest(
            clock_timestamp(),
            arrivals[:in_window] + make_interval(secs => :window),
            CASE WHEN NOT :urgent THEN arrivals[1] + make_interval(secs => :spacing) END
        ) AS arrives FROM locked
    ), taken AS (
        UPDATE reconciler.call_bucket b SET
            arrivals = ARRAY(SELECT a FROM unnest(s.arrivals || s.arrives) AS a
                ORDER BY a DESC LIMIT :in_window),
            urgent_until = CASE WHEN :urgent
                THEN clock_timestamp() + make_interval(secs => :urgent_seconds)
                ELSE urgent_until END
        FROM slot s WHERE b.base_id = :base_id RETURNING s.arrives
    ), logged AS (
        INSERT INTO reconciler.call_log (base_id, hour, purpose, calls)
        SELECT :base_id, date_trunc('hour', clock_timestamp()), :purpose, 1 FROM taken
        ON CONFLICT (base_id, hour, purpose) DO UPDATE SET calls = call_log.calls + 1
    )
    SELECT CAST(extract(epoch FROM arrives) * 1000000 AS bigint) AS arrives,
        extract(epoch FROM arrives - clock_timestamp()) AS wait FROM taken
""")
# A call that was late, because whoever made it woke late or because it was held up on its way.
_LATE = text("""
    UPDATE reconciler.call_bucket SET arrivals = ARRAY(
        SELECT a FROM unnest(array_remove(arrivals, t.planned)
            || greatest(t.planned, t.planned + make_interval(secs => :late))) AS a
        ORDER BY a DESC LIMIT :in_window)
    FROM (SELECT timestamptz 'epoch' + :arrives * interval '1 microsecond' AS planned) AS t
    WHERE base_id = :base_id RETURNING locked_until <= clock_timestamp()
""")
_OPEN = text(
    "SELECT locked_until <= clock_timestamp() FROM reconciler.call_bucket WHERE base_id = :base_id"
)

# Of the callers of this process to a base, urgent ones and others, the one whose turn it is.
_TURNS: dict[tuple[str, bool], Lock] = {}


@dataclass(frozen=True)
class Slot:
    """When a call was to go: ``began`` by this process' clock (``time.monotonic``), ``arrives`` by
    Postgres' (microseconds since 1970).
    """

    began: float
    arrives: int


class Bucket:
    """The bucket of one base, seen by one caller.

    ``purpose``: what the calls are logged under. ``urgent``: a delta or manual run.
    """

    def __init__(
        self, engine: Engine, base_id: str, *, purpose: str, urgent: bool, calls_per_second: float
    ) -> None:
        self._engine = engine
        self._in_window = math.ceil(calls_per_second)
        # A second, and what is left over of it: by so much may a call be late and cost nothing.
        window = self._in_window / calls_per_second
        self._spare = window - 1
        self._slot: dict[str, Any] = {
            "base_id": base_id,
            "purpose": purpose,
            "urgent": urgent,
            "in_window": self._in_window,
            "window": window,
            "spacing": 1 / calls_per_second,
            "urgent_seconds": URGENT_SECONDS,
        }
        self._turn = _TURNS.setdefault((base_id, urgent), Lock())
        with at_once(self._engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO reconciler.call_bucket (base_id) VALUES (:base_id) "
                    "ON CONFLICT DO NOTHING"
                ),
                self._slot,
            )

    def take(self) -> Slot:
        """Wait for a slot; through a lock-out of another process too.

        The callers of a process wait one behind the other, so that it holds one slot ahead at the
        most: whoever is urgent waits for no row of them.
        """
        with self._turn:
            while True:
                asked = time.monotonic()
                with at_once(self._engine) as connection:
                    given = connection.execute(_TAKE, self._slot).one_or_none()
                if given is None:
                    time.sleep(POLL_SECONDS)
                    continue
                slot = Slot(asked + max(0.0, float(given.wait)), given.arrives)
                time.sleep(max(0.0, slot.began - time.monotonic()))
                if self._may_go(slot):
                    return slot

    def arrived_late(self, slot: Slot, delay: float) -> None:
        """Tell that the call of a slot may have arrived so many seconds after it."""
        if delay > self._spare:
            self._tell(_LATE, slot, delay)

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

    def _may_go(self, slot: Slot) -> bool:
        """Whether the base is still open. Whoever woke late says so before the call."""
        late = time.monotonic() - slot.began
        return self._tell(_LATE if late > self._spare else _OPEN, slot, late)

    def _tell(self, statement: TextClause, slot: Slot, late: float) -> bool:
        parameters = {**self._slot, "arrives": slot.arrives, "late": late}
        with at_once(self._engine) as connection:
            return bool(connection.execute(statement, parameters).scalar())
