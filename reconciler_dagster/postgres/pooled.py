"""Whether a connection that comes from the pool still lives, mostly without asking the server.

To ask each time, as SQLAlchemy's ``pool_pre_ping`` does, is a round trip for every transaction. A
server that has gone has closed the connection, and that can be read at this end.
"""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

# A network that is silently gone closes nothing: after so long without a word the server is asked.
_SURE_SECONDS = 5.0


def look_before_use(engine: Engine) -> None:
    """Have each connection looked at when it leaves the pool; a dead one is made anew."""

    @event.listens_for(engine, "checkin")
    def put_down(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        lain = time.monotonic() - record.info.get("since", 0.0)
        try:
            if lain > _SURE_SECONDS or _can_be_read(connection.fileno()):
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("the connection was lost") from error


def _can_be_read(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
