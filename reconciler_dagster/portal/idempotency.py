"""Requests with an ``Idempotency-Key`` act once, however often and however fast they come.

The key's row is written in the transaction of the act itself. A second request with the same key
waits on that row until the first has committed, and then finds its answer; if the first failed,
its row is gone with everything else, and the second acts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from psycopg.types.json import Jsonb
from pydantic import BaseModel
from sqlalchemy import Connection, text

from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.problems import Problem

KEPT_HOURS = 24

_FORGET = text("""
    DELETE FROM reconciler.idempotency_key WHERE (user_id, key) IN (
        SELECT user_id, key FROM reconciler.idempotency_key
        WHERE created_at < now() - make_interval(hours => :hours)
        LIMIT 1000 FOR UPDATE SKIP LOCKED)
""")
_TAKE = text("""
    INSERT INTO reconciler.idempotency_key (user_id, key, fingerprint)
    VALUES (:user, :key, :fingerprint) ON CONFLICT DO NOTHING RETURNING 1
""")
_FIND = text("""
    SELECT fingerprint, answer FROM reconciler.idempotency_key
    WHERE user_id = :user AND key = :key
""")
_ANSWER = text("""
    UPDATE reconciler.idempotency_key SET answer = :answer WHERE user_id = :user AND key = :key
""")


class Once:
    """The key of one request, and what the request was."""

    def __init__(self, key: str | None, fingerprint: str) -> None:
        self.key = key
        self.fingerprint = fingerprint

    def act(
        self, connection: Connection, user: User, act: Callable[[], BaseModel]
    ) -> dict[str, Any]:
        """Do it, or give the answer that was given when it was done.

        Raises a 422 problem when the key came with another request before.
        """
        if self.key is None:
            return act().model_dump(mode="json")
        mine = {"user": user.id, "key": self.key}
        connection.execute(_FORGET, {"hours": KEPT_HOURS})
        if connection.execute(_TAKE, {**mine, "fingerprint": self.fingerprint}).first() is None:
            earlier = connection.execute(_FIND, mine).one()
            if earlier.fingerprint != self.fingerprint:
                raise Problem(
                    422,
                    "This Idempotency-Key was used for another request.",
                    kind="idempotency-key-reused",
                )
            answer: dict[str, Any] = earlier.answer
            return answer
        answer = act().model_dump(mode="json")
        connection.execute(_ANSWER, {**mine, "answer": Jsonb(answer)})
        return answer


async def _once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description=f"Makes a repeated request act once, for {KEPT_HOURS} hours.",
        ),
    ] = None,
) -> Once:
    body = await request.body()
    line = f"{request.method} {request.url.path}\n".encode()
    return Once(idempotency_key, hashlib.sha256(line + body).hexdigest())


OnceOnly = Annotated[Once, Depends(_once)]
