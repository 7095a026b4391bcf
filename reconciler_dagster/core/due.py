"""When the delta of a sync is due. Pure."""

from __future__ import annotations

from datetime import timedelta

# How often the schedule asks; what is to run as often is always due.
SCHEDULE = timedelta(minutes=15)
# As the scope of a summary: what tells a glance from a delta that was a run of its own.
GLANCE = "glance"


def is_due(every: timedelta, age: timedelta | None) -> bool:
    """``age``: how long ago it was listed last; None before the first one. Half a turn of the
    schedule early is on time: the next turn would be late.
    """
    return age is None or every <= SCHEDULE or age >= every - SCHEDULE / 2
