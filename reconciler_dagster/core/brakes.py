"""Brakes: what no run does unasked, however clearly the merge says so."""

from __future__ import annotations

# A run that would empty cells of more leads than this in Airtable waits for a person.
CLEARS_ALLOWED = 50
CLEARS_ALLOWED_SHARE = 0.05


def clears_too_many(cleared: int, leads: int) -> bool:
    """Whether emptying cells of so many of ``leads`` leads looks like an accident."""
    return cleared > max(CLEARS_ALLOWED, CLEARS_ALLOWED_SHARE * leads)
