"""Whether a pooler stands before a Postgres, and what it makes of sessions."""

from __future__ import annotations

from enum import Enum

from sqlalchemy import Connection, Engine, text

# Transactions of each connection that are looked at.
_LOOKS = 10


class Pooling(Enum):
    """What is at the other end of a connection; the value is for a person."""

    NONE = "no pooler: connections go to the server itself"
    TRANSACTION = (
        "a pooler in transaction mode: nothing of a run needs a session, so all works; only a "
        "LISTEN would hear nothing through it, so that changes are found by asking, every few "
        "seconds"
    )
    SESSION = "a pooler in session mode, as far as can be seen: all works"


def pooling(engine: Engine) -> Pooling:
    """Look, by what the connections themselves say.

    A pooler cannot hand on the number of the server process with which its client was greeted;
    and in transaction mode two connections that are both open may have the same one.
    """
    with engine.connect() as one, engine.connect() as other:
        greeted = one.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        if _process(one) == greeted:
            return Pooling.NONE
        # In turn, and neither while the other one is at it: there may be but one to be had.
        seen = [(_process(one), _process(other)) for _ in range(_LOOKS)]
        ones, others = map(set, zip(*seen, strict=True))
        wander = len(ones) > 1 or len(others) > 1 or bool(ones & others)
        return Pooling.TRANSACTION if wander else Pooling.SESSION


def _process(connection: Connection) -> int:
    """The server process of the connection's next transaction."""
    with connection.begin():
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
