"""The way of a request to Airtable, as the kernel knows it: when it left, and how late it arrived.

Airtable counts a call when it arrives. From outside, a call that was long on its way looks like one
that Airtable took long to think about; `TCP_INFO` tells them apart: the kernel times how soon what
was sent is acknowledged, and that takes no thinking. Linux has it. Elsewhere, through a proxy and
after a retransmission the way is not known, and the caller has to guess.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

# The head of `struct tcp_info` (linux/tcp.h): flags, then counters of four and of eight bytes.
_LAYOUT = struct.Struct("=8x24I4Q4I")
_RTT, _RTTVAR, _RETRANSMITTED, _LEAST_RTT = 15, 16, 23, 31
_MICROSECOND = 1e-6


@dataclass(frozen=True)
class Trip:
    """What the kernel knows of a connection. Seconds; ``rtt``: the round trip, smoothed."""

    rtt: float
    deviation: float
    least: float
    retransmitted: int


def trip(connection: socket.socket) -> Trip | None:
    """None where the system does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, option, _LAYOUT.size)
        values = _LAYOUT.unpack(raw)
    except (OSError, struct.error):  # another system's form of it, or no TCP at all
        return None
    return Trip(
        values[_RTT] * _MICROSECOND,
        values[_RTTVAR] * _MICROSECOND,
        values[_LEAST_RTT] * _MICROSECOND,
        values[_RETRANSMITTED],
    )


def delay_between(before: Trip | None, after: Trip | None) -> float | None:
    """Seconds that a request, sent between two looks, may have arrived later than the fastest one
    of its connection; None where it is not known.

    The kernel smooths by an eighth (RFC 6298), so one new measurement is what the two averages
    say; of a request of several segments it would say too much, and the deviation bounds it.
    """
    if before is None or after is None or after.retransmitted > before.retransmitted:
        return None
    measured = min(8 * after.rtt - 7 * before.rtt, after.rtt + 4 * after.deviation)
    return max(0.0, measured - after.least)


class Journey:
    """The last request of one transport. ``left``: when it had left here (``time.monotonic``);
    ``delay``: see ``delay_between``. ``has_left``: called then, while the answer is on its way.
    """

    def __init__(self, has_left: Callable[[], None] = lambda: None) -> None:
        self.has_left = has_left
        self.left = 0.0
        self.delay: float | None = None


class _Timed:
    """A connection that notes each request's journey."""

    journey: Journey
    sock: Any
    proxy: Any
    _before: Trip | None = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._before = trip(self.sock)

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            self._before = trip(self.sock)
        super().request(*arguments, **options)  # type: ignore[misc]
        self.journey.left = time.monotonic()
        self.journey.has_left()

    def getresponse(self) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        after = trip(self.sock) if self.sock is not None and not self.proxy else None
        self.journey.delay = delay_between(self._before, after)
        return response


def time_requests(adapter: HTTPAdapter, journey: Journey) -> None:
    """Have every request through the adapter note its journey."""

    class Plain(_Timed, HTTPConnection):
        pass

    class Secure(_Timed, HTTPSConnection):
        pass

    Plain.journey = Secure.journey = journey

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
