"""What the answers of a source tell of its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.source import Clock

START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = st.integers(-1000, 1000).map(lambda seconds: START + timedelta(seconds=seconds))


@given(before=st.lists(SECONDS), since=st.lists(SECONDS))
def test_it_keeps_the_earliest_answer_since_the_last_reset(
    before: list[datetime], since: list[datetime]
) -> None:
    clock = Clock(START)
    for moment in before:
        clock.note(moment, START)
    clock.reset()
    assert clock.earliest is None
    for number, moment in enumerate(since):
        clock.note(moment, START + timedelta(days=number))
    assert clock.earliest == (min(since) if since else None)
    if since:
        assert clock.noted_at == START + timedelta(days=since.index(min(since)))
