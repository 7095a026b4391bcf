"""How long a call to the Airtable API is on its way, and how long Airtable thinks about it."""

import random
from typing import NamedTuple

from reconciler_dagster.sandbox.switches import Switches

MILLISECOND = 0.001


class Delays(NamedTuple):
    """The three parts of one call's time, in real seconds."""

    way_there: float
    thinking: float
    way_back: float


NONE = Delays(0, 0, 0)


class Latency:
    """Draws the delays of each call, in the order in which calls set out.

    The same switches give the same delays: the draw begins anew whenever one of them changes.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._drawn_for: tuple[float, ...] = ()
        self._random = random.Random()

    def draw(self) -> Delays:
        """Return the delays of the next call."""
        s = self._switches
        asked = (s.way_there_ms, s.way_back_ms, s.way_jitter_ms, s.thinking_ms, s.thinking_tail_ms)
        if not any(asked):
            self._drawn_for = ()
            return NONE
        if self._drawn_for != (*asked, s.latency_seed):
            self._drawn_for = (*asked, s.latency_seed)
            self._random.seed(s.latency_seed)
        there, back, jitter, thinking, tail = (part * MILLISECOND for part in asked)
        return Delays(
            there + self._random.uniform(0, jitter),
            thinking + (self._random.expovariate(1 / tail) if tail else 0),
            back + self._random.uniform(0, jitter),
        )
