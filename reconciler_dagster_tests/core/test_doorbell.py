"""When edits ring."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.doorbell import PATIENCE, SHARE, Edits, is_due

SECONDS = st.floats(0, 10_000)


@pytest.mark.parametrize(
    ("newest", "oldest", "last_run", "calls", "due"),
    [
        (5, 5, None, 0, True),
        (4.9, 4.9, None, 0, False),  # may be typing still
        (0.1, 29, 3600, 1, False),
        (0.1, 30, 3600, 1, True),  # has been typing for long
        (5, 5, 1, 1, True),
        (5, 5, 1, 2, False),  # its two calls are earned back in 2 s
        (5, 5, 99, 100, False),
        (5, 5, 100, 100, True),
    ],
)
def test_examples(
    newest: float, oldest: float, last_run: float | None, calls: int, due: bool
) -> None:
    assert is_due(Edits("client", newest, oldest, last_run, calls), 5, 5) is due


@given(newest=SECONDS, settle=st.floats(0.1, 3600), calls=st.integers(0, 10_000))
def test_runs_for_edits_spend_no_more_than_their_share(
    newest: float, settle: float, calls: int
) -> None:
    earned_back = calls / (SHARE * 5)
    assert not is_due(
        Edits("client", newest, newest, earned_back * 0.999 - 0.001, calls), settle, 5
    )


@given(settle=st.floats(0.1, 3600))
def test_nobody_waits_longer_than_the_patience(settle: float) -> None:
    assert is_due(Edits("client", 0, PATIENCE * settle, None, 0), settle, 5)
