"""How often one user may ask: a token bucket each, in this process's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from reconciler_dagster.portal.problems import Problem

_REMEMBERED = 10_000


class RateLimit:
    """Buckets that hold a minute's worth at most half full at once, and refill evenly."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._size = max(1.0, per_minute / 2)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, who: str) -> None:
        """Take one request from the bucket; raises a 429 problem when it is empty."""
        with self._lock:
            now = self._clock()
            level, since = self._buckets.pop(who, (self._size, now))
            level = min(self._size, level + (now - since) * self._per_second)
            allowed = level >= 1
            self._buckets[who] = (level - 1 if allowed else level, now)
            # The one that has been silent longest has the fullest bucket: nothing is lost.
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - level) / self._per_second)
            raise Problem(
                429,
                f"Too many requests: try again in {wait} s.",
                kind="rate-limit",
                headers={"Retry-After": str(wait)},
            )
