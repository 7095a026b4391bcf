"""Cutting a creation window into pieces that are listed side by side.

One chain of pages waits for each answer before it can ask for the next page; several chains keep
the call budget used. Pieces are half-open and cut at whole seconds, and together they are the
window: a wrong guess costs a page, and never a record. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import PAGE
from reconciler_dagster.core.windows import SAMPLED_CHAIN

# Chains of the last window that is listed, of the one before, and so on.
_LAST_CHAINS = {1: 3, 2: 2, 3: 2}


def chains_wanted(left: int) -> int:
    """Of a window of which nothing is known, when so many are left with it: in the end there are
    fewer windows to take what the call rate bears.
    """
    return _LAST_CHAINS.get(left, 1)


def pieces_of_known(created: Sequence[datetime], window: Scope, most: int) -> list[Scope]:
    """At most ``most`` pieces of whole pages each, as far as the known records tell.

    ``created``: creation times of the window's known records, in order.
    """
    pages = math.ceil(len(created) / PAGE)
    size = math.ceil(pages / most) * PAGE
    if not size:
        return [window]
    return _cut(window, [created[at] for at in range(size, len(created), size)])


def pieces_of_base_sample(
    sample: Sequence[datetime], window: Scope, least: int, most: int
) -> list[Scope]:
    """About equal pieces of a window that was never listed, each for one chain of pages.

    ``sample``: creation times of a page that is like the whole base.
    """
    held = [moment for moment in sample if window.holds(moment)]
    pieces = min(most, max(least, len(held) // SAMPLED_CHAIN))
    return _equal(held, window, min(pieces, max(1, len(held))))


def pieces_of_sample(
    created: Sequence[datetime], window: Scope, most: int, now: datetime
) -> list[Scope]:
    """About equal pieces of a window of which only one page is known.

    ``created``: creation times in the order of the page. A page in order of creation is the
    window's oldest one and says nothing of the rest, which is then cut by time alone. ``now``:
    where an open window ends.
    """
    if len(created) < 2:
        return [window]
    if all(one <= other for one, other in pairwise(created)):
        step = ((window.end or now) - created[-1]) / most
        return _cut(window, [created[-1] + n * step for n in range(1, most)])
    return _equal(created, window, most)


def _equal(created: Sequence[datetime], window: Scope, pieces: int) -> list[Scope]:
    """Pieces that hold equally many of these moments."""
    ordered = sorted(created)
    return _cut(window, [ordered[len(ordered) * n // pieces] for n in range(1, pieces)])


def _cut(window: Scope, at: Sequence[datetime]) -> list[Scope]:
    """The window cut before the seconds of these moments, those on its edges left out."""
    seconds = sorted({moment.replace(microsecond=0) for moment in at})
    inner = [
        second
        for second in seconds
        if (window.start is None or second > window.start)
        and (window.end is None or second < window.end)
    ]
    edges = [window.start, *inner, window.end]
    return [replace(window, start=start, end=end) for start, end in pairwise(edges)]
