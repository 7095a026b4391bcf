"""The month's calls as a row of bars: a day each, what was spent, and what is to be expected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler_dagster.core.month import Month, month_began, month_turns


@dataclass(frozen=True)
class Day:
    """A bar, in per cent of the chart; drawn from below. ``kind``: its class."""

    x: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class MonthChart:
    """``share``: of the limit, in per cent; None where there is none."""

    days: tuple[Day, ...]
    largest: int
    turns: datetime
    share: float | None


def month_chart(month: Month, now: datetime) -> MonthChart:
    """Every day of the month."""
    began, turns = month_began(now), month_turns(now)
    count = (turns - began) // timedelta(days=1)
    expected = round(24 * sum(month.an_hour.values()))
    calls = {
        day: month.daily.get(day, 0) if day <= now.day else expected for day in range(1, count + 1)
    }
    largest = max(calls.values(), default=0) or 1
    width = 100 / count
    days = tuple(
        Day(
            round((day - 1) * width, 3),
            round(width * 0.72, 3),
            round(94 * number / largest, 2),
            "plain" if day <= now.day else "behind",
            f"{began:%B} {day}: {number:,} {'calls' if day <= now.day else 'to be expected'}",
        )
        for day, number in calls.items()
    )
    share = None if month.limit is None else round(100 * month.spent / month.limit, 1)
    return MonthChart(days, largest, turns, share)
