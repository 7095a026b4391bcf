"""When the delta of a sync is due. Pure."""

from __future__ import annotations

from datetime import timedelta

# How often the schedule asks; what is to run as often is always due.
SCHEDULE = timedelta(minutes=15)


def is_due(every: timedelta, age: timedelta | None) -> bool:
    """``age``: how long ago the last delta listed; None before the first one. Half a turn of the
    schedule early is on time: the next turn would be late.
    """
    return age is None or every <= SCHEDULE or age >= every - SCHEDULE / 2


def is_due_for_a_glance(every: timedelta, age: timedelta | None) -> bool:
    """The same where glances may have come since, which leave the age as it is: once in each
    ``every`` of it.
    """
    if age is None or every <= SCHEDULE:
        return True
    return is_due(every, age) and (age + SCHEDULE / 2) % every < SCHEDULE
