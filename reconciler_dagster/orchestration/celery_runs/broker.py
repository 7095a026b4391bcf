"""The connection to Redis of a worker that goes on when Redis goes away.

Celery drops a connection that is lost, and then has kombu's channel give back, through it, what the
worker has in hand; and the end of a task is told through the channel that the task came by. Both
end the worker with an AttributeError, and with it all that it would have done next (kombu 5.7.0;
github.com/celery/kombu/issues/582 is the same).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class _Channel(redis.Channel):  # type: ignore[misc]  # untyped
    @property
    def do_restore(self) -> bool:
        """Nothing is given back that is still at work here."""
        return not self._is_lost

    @property
    def _is_lost(self) -> bool:
        return getattr(self.connection, "client", None) is None

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self._is_lost:  # Celery takes this for what it is, and goes on
            raise ConnectionError("The connection by which this task came is lost.")
        return super()._connparams(asynchronous)


class Transport(redis.Transport):  # type: ignore[misc]  # untyped
    """kombu's own, but for a channel whose connection is lost."""

    Channel = _Channel


def use() -> None:
    """Have every connection to a Redis be of this kind, in this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
