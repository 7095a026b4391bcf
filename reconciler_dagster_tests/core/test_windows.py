"""Months, audit windows and the audit's allowance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.windows import (
    FIRST_MONTH,
    KnownRecord,
    allowance,
    contiguous,
    cycle_hours,
    grouped,
    month_of,
    months_scope,
    months_until,
    stalest_window,
    unknown_grouped,
    window_at,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MONTHS = months_until(NOW)
moments = st.datetimes(datetime(2019, 1, 1), datetime(2026, 11, 24), timezones=st.just(UTC))


@given(moments)
def test_every_record_belongs_to_exactly_one_month(created: datetime) -> None:
    holding = [month for month in MONTHS if months_scope(month, month).holds(created)]
    assert holding == [month_of(created)]


def test_the_first_month_is_open_to_the_past_and_the_newest_is_there() -> None:
    assert months_scope(FIRST_MONTH, FIRST_MONTH).start is None
    assert MONTHS[0] == FIRST_MONTH
    assert MONTHS[-1] == "2026-11-01"
    assert months_scope("2026-12-01", "2026-12-01").end == datetime(2027, 1, 1, tzinfo=UTC)


@given(
    st.sets(st.sampled_from(MONTHS), min_size=1),
    st.dictionaries(st.sampled_from(MONTHS), st.integers(0, 900)),
    st.integers(1, 1000),
    st.integers(1, 4),
    st.booleans(),
)
def test_groups_hold_every_month_once_side_by_side_and_not_too_much(
    months: set[str], leads: dict[str, int], most: int, at_a_time: int, tapered: bool
) -> None:
    groups = grouped(sorted(months), leads, most, at_a_time, tapered=tapered)
    assert [month for group in groups for month in group] == sorted(months)
    for number, group in enumerate(groups, start=1):
        assert len(contiguous(group)) == 1
        room = most * min(number, at_a_time) / at_a_time
        held = [leads.get(month, 0) for month in group]
        assert len(list(filter(None, held))) <= 1 or sum(held) <= room


def test_what_is_listed_at_a_time_does_not_end_at_a_time() -> None:
    leads = dict.fromkeys(MONTHS, 100)
    sizes = [len(group) for group in grouped(MONTHS, leads, 800, at_a_time=4)]
    assert sizes[:6] == [2, 4, 6, 8, 8, 8]
    assert [len(group) for group in grouped(MONTHS, leads, 800)][:3] == [8, 8, 8]


def test_tapered_groups_hold_less_and_less_in_the_end() -> None:
    leads = dict.fromkeys(MONTHS, 100)
    groups = grouped(MONTHS, leads, 800, at_a_time=4, tapered=True)
    left = len(MONTHS) - sum(map(len, groups[:4]))
    for group in groups[4:]:
        assert len(group) <= max(left, 8) / 3
        left -= len(group)
    sizes = [len(group) for group in groups]
    assert sizes[:4] == [2, 4, 6, 8], "at the beginning as ever"
    assert sizes[-1] <= 2


@given(st.integers(1, len(MONTHS)))
def test_unknown_months_are_grouped_once_and_side_by_side(count: int) -> None:
    groups = unknown_grouped(MONTHS[-count:])
    assert [month for group in groups for month in group] == MONTHS[-count:]
    assert all(len(contiguous(group)) == 1 for group in groups)
    assert len(groups[-1]) == 1
    assert len(groups) <= 16


def test_a_page_of_the_base_says_how_its_months_are_grouped() -> None:
    recent = [NOW - timedelta(days=day * 37 % 400) for day in range(100)]
    groups = unknown_grouped(MONTHS, recent)
    assert [month for group in groups for month in group] == MONTHS
    assert len(groups[0]) > 40, "the years without leads are not listed by themselves"
    assert 6 <= len(groups) <= 14
    assert unknown_grouped(MONTHS, recent[:99]) == [MONTHS]
    assert unknown_grouped(MONTHS, sorted(recent)) == unknown_grouped(MONTHS)


known_leads = st.lists(
    st.tuples(st.integers(0, 400), st.none() | st.integers(0, 50)), min_size=1, max_size=60
).map(
    lambda rows: [
        KnownRecord(
            datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=300 * created),
            None if verified is None else NOW - timedelta(hours=verified + 1),
        )
        for created, verified in sorted(rows, key=lambda row: row[0])
    ]
)


@given(known_leads, st.integers(1, 20))
def test_the_stalest_lead_is_in_its_window_and_the_window_is_no_larger_than_it_must(
    leads: list[KnownRecord], most: int
) -> None:
    window = stalest_window(leads, most, before=NOW)
    assert window is not None
    never = datetime.min.replace(tzinfo=UTC)
    stalest = min(leads, key=lambda lead: lead.verified_at or never)
    assert window.holds(stalest.created_time)
    held = [
        lead.created_time.replace(microsecond=0)
        for lead in leads
        if window.holds(lead.created_time)
    ]
    assert len(held) <= most or len(set(held)) == 1


@given(known_leads, st.integers(1, 20))
def test_window_after_window_the_whole_base_is_proved(leads: list[KnownRecord], most: int) -> None:
    """Also what lies before, between and after the known leads."""
    times = [lead.created_time for lead in leads]
    between = [times[0] - timedelta(days=900), *times, times[-1] + timedelta(days=900)]
    seen: set[datetime] = set()
    for _ in range(len(leads)):
        window = stalest_window(leads, most, before=NOW)
        if window is None:
            break
        leads = [
            KnownRecord(lead.created_time, NOW) if window.holds(lead.created_time) else lead
            for lead in leads
        ]
        seen |= {moment for moment in between if window.holds(moment)}
    assert stalest_window(leads, most, before=NOW) is None
    assert seen == set(between)


def test_a_window_of_no_known_lead_begins_where_it_is_asked_for() -> None:
    moment = datetime(2026, 5, 5, 1, 2, 3, 400000, tzinfo=UTC)
    assert window_at([], moment, 100).holds(moment)


def test_no_lead_no_window() -> None:
    assert stalest_window([], 100, before=NOW) is None


def test_an_hour_that_overdrew_is_paid_back_and_one_that_saved_gives_no_credit() -> None:
    assert allowance(20, [0, 0, 0]) == 20
    assert allowance(20, [20, 0, 0]) == 0
    assert allowance(20, [5, 0, 0]) == 15
    assert allowance(20, [0, 50, 0]) == 0
    assert allowance(20, [0, 0, 50]) == 10
    assert allowance(0, [0]) == 0


@given(st.integers(1, 50), st.lists(st.integers(0, 200), min_size=1, max_size=24))
def test_the_allowance_never_exceeds_the_budget(budget: int, spent: list[int]) -> None:
    assert 0 <= allowance(budget, spent) <= budget


def test_eleven_thousand_leads_are_proved_within_six_hours() -> None:
    assert cycle_hours(11_000, 20) == 5.5
