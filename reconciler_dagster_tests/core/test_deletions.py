"""When an absence is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.deletions import (
    NEVER_MET,
    State,
    after_absence,
    is_suspicious,
    too_many,
)

counts = st.integers(0, 50_000)


@given(counts, counts, counts, counts)
def test_nothing_is_deleted_on_one_listing(a: int, b: int, c: int, d: int) -> None:
    for state in (None, State.MISSING, State.RETURNED):
        assert after_absence(state, 1, is_suspicious(a, b, c, d)) is State.MISSING


@given(st.sampled_from(State), st.integers(2, 9))
def test_what_looks_like_an_accident_is_never_deleted_unasked(state: State, listings: int) -> None:
    after = after_absence(state, listings, "30 % of the base is gone.")
    assert after is not State.DELETED or state is State.DELETED
    assert after is not State.APPROVED or state is State.APPROVED


def test_a_persons_word_stands() -> None:
    for state in (State.APPROVED, State.REJECTED, State.AWAITING_APPROVAL):
        assert after_absence(state, 9, None) is state


def test_two_listings_without_suspicion_delete() -> None:
    assert after_absence(State.MISSING, 2, None) is State.DELETED


@given(st.integers(20, 50_000))
def test_a_third_of_the_base_is_always_too_many(leads: int) -> None:
    assert too_many(max(6, leads // 3), leads)


def test_limits() -> None:
    assert not too_many(5, 10)
    assert too_many(6, 10)
    assert not too_many(100, 11_000)
    assert too_many(101, 11_000)


def test_an_empty_listing_is_suspicious_whatever_the_limits_say() -> None:
    assert "none of the 80" in str(is_suspicious(0, 80, 80, 11_000))
    assert is_suspicious(900, 80, 80, 11_000) is None
    assert is_suspicious(0, 2, 2, 11_000) is None


@given(listings=st.integers(0, 10), state=st.sampled_from([None, State.MISSING, State.RETURNED]))
def test_a_lead_that_was_never_met_is_never_deleted_unasked(
    listings: int, state: State | None
) -> None:
    assert after_absence(state, listings, NEVER_MET) is not State.DELETED
