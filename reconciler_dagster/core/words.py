"""How numbers are said."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A count with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
