"""The month's calls of a workspace: what is spent, what is to be expected, and who goes slower.

Airtable counts the calls of all bases of a workspace together, by UTC months. The audit plans with
four fifths of them, the deltas of quiet bases with nineteen twentieths, and a person's sync with
all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# How the sentence of a run begins that was refused because the month's calls are used up.
USED_UP = "Airtable answered 429 PUBLIC_API_BILLING_LIMIT_EXCEEDED"
# What the Team plan allows: told of where no limit is set.
TEAM_PLAN = 100_000
LOW = 0.8
_FOR_AUDIT, _FOR_DELTAS = 0.8, 0.95
QUARTERS = 4
# A quiet base is read at least every four hours.
LONGEST_STRETCH = 16


def month_began(now: datetime) -> datetime:
    """The first moment of the month, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_turns(now: datetime) -> datetime:
    """The first moment of the next one."""
    return month_began(month_began(now) + timedelta(days=32))


@dataclass(frozen=True)
class Month:
    """One workspace. ``limit``: None where none is set; ``spent``: calls of this month;
    ``by_purpose``: of them; ``an_hour``: calls an hour of late, by purpose; ``daily``: by day of
    the month; ``hours_left``: until it turns; ``paused``: Airtable has said that no call is left.
    """

    workspace: str
    bases: tuple[str, ...]
    limit: int | None
    spent: int
    by_purpose: Mapping[str, int]
    an_hour: Mapping[str, float]
    daily: Mapping[int, int]
    hours_left: float
    paused: bool = False

    @property
    def forecast(self) -> int:
        """Calls of the whole month, if it goes on like this."""
        return self.spent + round(sum(self.an_hour.values()) * self.hours_left)

    @property
    def left(self) -> int | None:
        """Calls that are left; None where no limit is set."""
        return None if self.limit is None else max(0, self.limit - self.spent)

    def audit_calls(self, wanted: int) -> int:
        """Calls that a base's audit may make in an hour, of the ``wanted`` ones."""
        if self.paused:
            return 0
        if self.limit is None:
            return wanted
        others = sum(n for purpose, n in self.an_hour.items() if purpose != "audit")
        others = max(others, float(QUARTERS * len(self.bases)))
        free = _FOR_AUDIT * self.limit - self.spent - others * self.hours_left
        return max(0, min(wanted, math.floor(free / max(self.hours_left, 1) / len(self.bases))))

    @property
    def stretch(self) -> int:
        """Of how many quarters of an hour a quiet base takes one."""
        if self.limit is None:
            return 1
        quiet = float(QUARTERS * len(self.bases))
        busy = max(0.0, self.an_hour.get("delta", 0.0) + self.an_hour.get("manual", 0.0) - quiet)
        free = _FOR_DELTAS * self.limit - self.spent - busy * self.hours_left
        if free <= 0:
            return LONGEST_STRETCH
        return min(LONGEST_STRETCH, max(1, math.ceil(quiet * self.hours_left / free)))


def is_turn(place: int, quarter: int, stretch: int) -> bool:
    """Whether the quiet base at a place in the list is read in a quarter of an hour (counted since
    1970): spread, so that they do not all come at once.
    """
    return (quarter + place) % stretch == 0


def workspaces(words: str | None, bases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which bases share a workspace, from e.g. ``sales: appA appB; care: appC``. Those that are not
    named share one, for it is the careful assumption.
    """
    known = list(dict.fromkeys(bases))
    found: dict[str, tuple[str, ...]] = {}
    for name, named in named_workspaces(words or "").items():
        mine = tuple(base for base in known if base in named)
        if mine:
            found[name] = mine
    rest = tuple(base for base in known if not any(base in mine for mine in found.values()))
    return found | ({"all others" if found else "all bases": rest} if rest else {})


def named_workspaces(words: str) -> dict[str, list[str]]:
    """Names and bases as written; ValueError where they are not."""
    found: dict[str, list[str]] = {}
    for part in filter(str.strip, words.split(";")):
        name, colon, bases = part.partition(":")
        listed = bases.replace(",", " ").split()
        if not colon or not name.strip() or not listed:
            raise ValueError("expected `name: base base; name: base`")
        found[name.strip()] = listed
    return found
