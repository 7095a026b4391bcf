"""A lock by rank: threads of a process wait one behind the other."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Condition


class Turns:
    """One at a time. Of those who wait, the lowest rank is next, and of equals who asked first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[tuple[int, int]] = []
        self._asked = count()
        self._taken = False

    @contextmanager
    def turn(self, rank: int = 0) -> Iterator[None]:
        """Wait for a turn, and have it until the end of the block."""
        with self._changed:
            mine = (rank, next(self._asked))
            heapq.heappush(self._waiting, mine)
            try:
                while self._taken or self._waiting[0] != mine:
                    self._changed.wait()
                self._taken = True
            finally:  # also where a person interrupts it
                self._waiting.remove(mine)
                heapq.heapify(self._waiting)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
