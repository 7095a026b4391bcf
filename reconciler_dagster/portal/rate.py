"""How often one user may ask: a token bucket each, in this process's memory."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from fastapi import Request

from reconciler_dagster.portal.problems import Problem

_REMEMBERED = 10_000


def network_of(address: str) -> str:
    """Whose address it is: of IPv6, a network has as many as it likes."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a proxy may name whom it speaks for as it likes
        return address[:64]
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


class RateLimit:
    """Buckets that hold a minute's worth at most half full at once, and refill evenly."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._size = max(1.0, per_minute / 2)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, who: str, cost: float = 1) -> None:
        """Take a request from the bucket; raises a 429 problem when it is empty."""
        with self._lock:
            now = self._clock()
            level, since = self._buckets.pop(who, (self._size, now))
            level = min(self._size, level + (now - since) * self._per_second)
            allowed = level >= cost
            self._buckets[who] = (level - cost if allowed else level, now)
            # The one that has been silent longest has the fullest bucket: nothing is lost.
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((cost - level) / self._per_second)
            raise Problem(
                429,
                f"Too many requests: try again in {wait} s.",
                kind="rate-limit",
                headers={"Retry-After": str(wait)},
            )

    def take_for_address(self, request: Request, cost: float = 1) -> None:
        """Take a request from the bucket of the address it came from, unless it was counted.

        Raises a 429 problem when the bucket is empty.
        """
        if not is_counted(request):
            mark_counted(request)
            host = request.client.host if request.client else "unknown"
            self.take(f"address {network_of(host)}", cost)


def is_counted(request: Request) -> bool:
    """Whether some bucket has been asked for this request."""
    return bool(getattr(request.state, "counted", False))


def mark_counted(request: Request) -> None:
    """Note that a bucket has been asked for this request."""
    request.state.counted = True
