"""When a delta is due."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler_dagster.core.due import SCHEDULE, is_due

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
