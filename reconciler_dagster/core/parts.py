"""Rows are merged and written in parts, whoever asks: memory is bounded by a part, not by the base.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Rows in memory at a time; written under one lock within a second or so.
PART = 1000


def in_parts(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """The items in order, in lists of at most ``size``."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
