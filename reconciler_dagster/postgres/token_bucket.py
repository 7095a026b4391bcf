"""The call budget of a token: Airtable takes 50 calls a second of all that belong to one user.

Beside the five of each base (``bucket``): ten bases at their full pace come up to it. Only a digest
of the token is kept, as a bucket of its own among those of the bases, and with each base that is
called with it: what keeps the token from calling keeps all of them from it.
"""

from __future__ import annotations

import hashlib
import time

from sqlalchemy import Engine, text

from reconciler_dagster.postgres.connection import at_once

# Two fewer than Airtable takes, in a little more than a second: ways there differ.
CALLS, WINDOW = 48, 1.05
# What a base takes at the most, in a second.
OF_A_BASE = 5

# Nobody holds a slot ahead: who has to wait asks again.
_TAKE = text("""
    WITH locked AS (
        SELECT arrivals, locked_until FROM reconciler.call_bucket WHERE base_id = :key FOR UPDATE
    ), asked AS (
        SELECT arrivals, locked_until, clock_timestamp() AS at FROM locked
    ), slot AS (
        SELECT arrivals, at, greatest(
            at, locked_until, arrivals[:calls] + make_interval(secs => :window)) AS free FROM asked
    ), noted AS (
        UPDATE reconciler.call_bucket b SET arrivals = ARRAY(
            SELECT a FROM unnest(s.arrivals || s.at) AS a ORDER BY a DESC LIMIT :calls)
        FROM slot s WHERE b.base_id = :key AND s.free = s.at
    )
    SELECT extract(epoch FROM at)::float AS at, extract(epoch FROM free - at)::float AS wait
    FROM slot
""")
_ADD = text("INSERT INTO reconciler.call_bucket (base_id) VALUES (:key) ON CONFLICT DO NOTHING")
_NOTE = text(
    "UPDATE reconciler.call_bucket SET token = :key WHERE base_id = :base_id "
    "AND token IS DISTINCT FROM :key"
)
_LOCKED = text(
    "SELECT extract(epoch FROM locked_until - clock_timestamp())::float "
    "FROM reconciler.call_bucket WHERE base_id = :key AND locked_until > clock_timestamp()"
)
_LOCK = text(
    "UPDATE reconciler.call_bucket SET lock_reason = :reason, locked_until = "
    "greatest(locked_until, clock_timestamp() + make_interval(secs => :seconds)) "
    "WHERE base_id = ANY(ARRAY(SELECT base_id FROM reconciler.call_bucket "
    # In an order, so that two who lock at once do not wait for each other.
    "WHERE base_id = :key OR token = :key ORDER BY base_id FOR UPDATE))"
)


class TokenBucket:
    """The buckets of all tokens, seen by one run on one base. Where all bases together cannot come
    up to what a token may do, no call is noted.
    """

    def __init__(self, engine: Engine, base_id: str) -> None:
        self._engine, self._base_id = engine, base_id
        self._noted = ""
        with at_once(engine) as connection:
            bases = connection.execute(
                text(
                    "SELECT count(DISTINCT airtable_base_id) FROM reconciler.clients() "
                    "WHERE is_active"
                )
            ).scalar_one()
        self._is_needed = bases * OF_A_BASE > CALLS

    def take(self, token: str) -> float | None:
        """Wait until one more call may be made with the token, and note it. Returns when it was
        noted, in seconds since 1970 on Postgres' clock; None where nothing needs to be noted.
        """
        if token != self._noted:
            self._begin(token)
        if not self._is_needed:
            return None
        asked = {"key": _key(token), "calls": CALLS, "window": WINDOW}
        while True:
            with at_once(self._engine) as connection:
                slot = connection.execute(_TAKE, asked).one_or_none()
                if slot is None:
                    connection.execute(_ADD, asked)
            if slot is not None and not slot.wait:
                return float(slot.at)
            time.sleep(slot.wait if slot else 0)

    def lock_out(self, token: str, seconds: float, reason: str) -> None:
        """Keep every process from calling any base with this token for so long."""
        asked = {"key": _key(token), "seconds": seconds, "reason": reason}
        with at_once(self._engine) as connection:
            connection.execute(_ADD, asked)
            connection.execute(_LOCK, asked)

    def is_locked_out(self, token: str) -> bool:
        """Whether it is kept from calling."""
        return self._locked_for(token) > 0

    def _begin(self, token: str) -> None:
        """The base is called with this token from now on: wait until it may be."""
        with at_once(self._engine) as connection:
            connection.execute(_NOTE, {"key": _key(token), "base_id": self._base_id})
        while (seconds := self._locked_for(token)) > 0:
            time.sleep(seconds)
        self._noted = token

    def _locked_for(self, token: str) -> float:
        with at_once(self._engine) as connection:
            return float(connection.execute(_LOCKED, {"key": _key(token)}).scalar() or 0.0)


def _key(token: str) -> str:
    return f"token {hashlib.blake2b(token.encode(), digest_size=16).hexdigest()}"
