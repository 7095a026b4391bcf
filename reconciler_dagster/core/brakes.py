"""Brakes: what no run does unasked, however clearly the merge says so."""

from __future__ import annotations

# More leads than this with cells that the portal emptied wait for a person, whatever part of them
# a run or a window happens to see ...
CLEARS_ALLOWED = 50
CLEARS_ALLOWED_SHARE = 0.05
# ... but so few in a change-set are nobody's accident, and not worth a look at the whole base.
CLEARS_ALWAYS_ALLOWED = 10
# Outbound cells of a change-set that are foreseen to be refused, and were not before: more than
# this, and than this part of all that would be sent, are no single mistakes.
REFUSALS_ALLOWED = 50
REFUSALS_ALLOWED_SHARE = 0.05
# A cell that so many runs in a row have written to Airtable, though nobody edited the lead, is not
# written again before somebody has looked: the two sides rewrite each other's form of it.
OWN_WRITES_ALLOWED = 3
# A value that has lost to Airtable's in so many runs is written by a program, which would go on.
FIGHT_RUNS = 3
# Where its values are other ones each time, it takes so many leads side by side in one column to
# tell a program from a person.
FIGHT_LEADS = 10


def clears_too_many(emptied: int, leads: int) -> bool:
    """Whether so many of ``leads`` leads with emptied cells look like an accident."""
    return emptied > max(CLEARS_ALLOWED, CLEARS_ALLOWED_SHARE * leads)


def refuses_too_many(refused: int, outbound: int) -> bool:
    """Whether so many of ``outbound`` cells look like a mistake of the map or of the options."""
    return refused > max(REFUSALS_ALLOWED, REFUSALS_ALLOWED_SHARE * outbound)
