"""The month's calls: when it turns, what is to be expected, and who goes slower."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.month import (
    LONGEST_STRETCH,
    Month,
    is_turn,
    month_began,
    month_turns,
    workspaces,
)


def month(limit: int | None = 100_000, bases: int = 1, **more: object) -> Month:
    given_: dict[str, object] = {
        "spent": 0,
        "by_purpose": {},
        "an_hour": {"delta": 4.0 * bases, "audit": 20.0 * bases},
        "daily": {},
        "hours_left": 744.0,
    } | more
    return Month("all", tuple(f"app{n}" for n in range(bases)), limit, **given_)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "began", "turns"),
    [
        (datetime(2026, 2, 28, 23, tzinfo=UTC), (2026, 2, 1), (2026, 3, 1)),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), (2026, 12, 1), (2027, 1, 1)),
        (
            datetime(2027, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            (2026, 12, 1),
            (2027, 1, 1),
        ),
    ],
)
def test_the_month_is_that_of_utc(
    now: datetime, began: tuple[int, int, int], turns: tuple[int, int, int]
) -> None:
    assert month_began(now) == datetime(*began, tzinfo=UTC)
    assert month_turns(now) == datetime(*turns, tzinfo=UTC)


def test_a_quiet_base_costs_what_the_issue_says() -> None:
    """2,976 calls of deltas and up to 14,880 of the audit: the sixth base runs a workspace dry."""
    one = month()
    assert one.forecast == 2_976 + 14_880
    assert month(bases=5).forecast < 100_000 < month(bases=6).forecast


def test_without_a_limit_nobody_goes_slower() -> None:
    free = month(limit=None, bases=50)
    assert (free.stretch, free.audit_calls(20), free.left) == (1, 20, None)


def test_the_audit_goes_slower_first_then_the_deltas() -> None:
    assert [month(bases=n).audit_calls(20) for n in (1, 4, 6, 20, 40)] == [20, 20, 13, 1, 0]
    assert [month(bases=n).stretch for n in (1, 6, 20, 31, 32, 70, 400)] == [1, 1, 1, 1, 2, 3, 13]


def test_what_is_spent_early_is_missing_later() -> None:
    assert month(spent=60_000).audit_calls(20) == 20
    assert month(spent=75_000).audit_calls(20) == 2
    assert month(spent=80_000).audit_calls(20) == 0
    assert month(spent=94_000).stretch == 3
    assert month(spent=99_999).stretch == LONGEST_STRETCH


def test_a_workspace_without_calls_has_none_for_the_audit() -> None:
    assert month(paused=True).audit_calls(20) == 0


@given(
    st.integers(1, 500),
    st.integers(0, 120_000),
    st.floats(0, 744),
    st.integers(1000, 200_000),
    st.integers(0, 100),
)
def test_nobody_is_ever_faster_than_asked_nor_stopped_for_good(
    bases: int, spent: int, left: float, limit: int, wanted: int
) -> None:
    here = month(limit=limit, bases=bases, spent=spent, hours_left=left)
    assert 0 <= here.audit_calls(wanted) <= wanted
    assert 1 <= here.stretch <= LONGEST_STRETCH
    more = month(limit=limit, bases=bases, spent=spent + 1000, hours_left=left)
    assert more.audit_calls(wanted) <= here.audit_calls(wanted)
    assert more.stretch >= here.stretch


@given(st.integers(0, 500), st.integers(0, 10**7), st.integers(1, LONGEST_STRETCH))
def test_everybody_has_one_turn_in_a_stretch(place: int, quarter: int, stretch: int) -> None:
    turns = [is_turn(place, quarter + n, stretch) for n in range(stretch)]
    assert turns.count(True) == 1


def test_workspaces() -> None:
    assert workspaces(None, ["a", "b", "a"]) == {"all bases": ("a", "b")}
    assert workspaces("sales: b c; care: x", ["a", "b", "c"]) == {
        "sales": ("b", "c"),
        "all others": ("a",),
    }
    assert workspaces("sales: a, b", ["a", "b"]) == {"sales": ("a", "b")}
    assert workspaces(None, []) == {}
    for words in ("a b", "sales:", ": a"):
        with pytest.raises(ValueError, match="expected"):
            workspaces(words, ["a"])
