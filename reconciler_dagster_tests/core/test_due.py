"""When a delta is due, and a glance in its place."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.due import SCHEDULE, is_due, is_due_for_a_glance

MINUTES = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("every", "age", "due"),
    [
        (SCHEDULE, None, True),
        (SCHEDULE, 0 * MINUTES, True),
        (HOUR, None, True),
        (HOUR, 45 * MINUTES, False),
        (HOUR, 53 * MINUTES, True),
        (HOUR, 75 * MINUTES, True),
    ],
)
def test_half_a_turn_early_is_on_time(every: timedelta, age: timedelta, due: bool) -> None:
    assert is_due(every, age) is due


@given(
    late=st.integers(-5, 5),
    turns=st.integers(2, 50),
)
def test_a_slower_sync_is_glanced_at_once_in_its_time(late: int, turns: int) -> None:
    """However old its cursor is by now, with ticks that are some minutes off."""
    every = 4 * SCHEDULE
    ages = [n * SCHEDULE + late * MINUTES for n in range(4 * turns + 2)]
    glances = [n for n, age in enumerate(ages) if is_due_for_a_glance(every, age)]
    assert glances == [4 * n for n in range(1, turns + 1)]


def test_what_was_never_met_or_runs_with_the_schedule_is_always_due() -> None:
    assert is_due_for_a_glance(HOUR, None)
    assert is_due_for_a_glance(SCHEDULE, 7 * MINUTES)
