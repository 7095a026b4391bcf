"""The call budget of a token: Airtable takes 50 calls a second of all that belong to one user.

Beside the five of each base (``bucket``): ten bases at their full pace come up to it. Only a digest
of the token is kept, as a bucket of its own among those of the bases.
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
        SELECT arrivals FROM reconciler.call_bucket WHERE base_id = :key FOR UPDATE
    ), asked AS (
        SELECT arrivals, clock_timestamp() AS at FROM locked
    ), slot AS (
        SELECT arrivals, at,
            greatest(at, arrivals[:calls] + make_interval(secs => :window)) AS free FROM asked
    ), noted AS (
        UPDATE reconciler.call_bucket b SET arrivals = ARRAY(
            SELECT a FROM unnest(s.arrivals || s.at) AS a ORDER BY a DESC LIMIT :calls)
        FROM slot s WHERE b.base_id = :key AND s.free = s.at
    )
    SELECT extract(epoch FROM at)::float AS at, extract(epoch FROM free - at)::float AS wait
    FROM slot
""")


class TokenBucket:
    """The buckets of all tokens, seen by one caller. Where all bases together cannot come up to
    what a token may do, nothing is asked or noted.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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
        if not self._is_needed:
            return None
        asked = {"key": _key(token), "calls": CALLS, "window": WINDOW}
        while True:
            with at_once(self._engine) as connection:
                slot = connection.execute(_TAKE, asked).one_or_none()
                if slot is None:
                    connection.execute(
                        text(
                            "INSERT INTO reconciler.call_bucket (base_id) VALUES (:key) "
                            "ON CONFLICT DO NOTHING"
                        ),
                        asked,
                    )
            if slot is not None and not slot.wait:
                return float(slot.at)
            time.sleep(slot.wait if slot else 0)


def _key(token: str) -> str:
    return f"token {hashlib.blake2b(token.encode(), digest_size=16).hexdigest()}"
