"""Severity, quiet hours, and the pauses between attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.notices.kinds import Severity
from reconciler_dagster.notices.routes import Quiet, Route, wait_after

NIGHT = Quiet.read("22:00-07:00", ZoneInfo("Europe/Berlin"))


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 26, hour, minute, tzinfo=UTC)  # Berlin is one hour ahead


@pytest.mark.parametrize(
    ("moment", "due"),
    [
        (at(12), at(12)),
        (at(20, 59), at(20, 59)),
        (at(21), at(6) + timedelta(days=1)),
        (at(23, 30), at(6) + timedelta(days=1)),
        (at(5, 59), at(6)),
        (at(6), at(6)),
    ],
)
def test_quiet_hours_over_night(moment: datetime, due: datetime) -> None:
    assert Route("email", Severity.INFO, NIGHT).due(Severity.WARNING, moment) == due


def test_quiet_hours_within_a_day() -> None:
    noon = Quiet.read("12:00-13:30", UTC)
    assert noon.ends(at(12, 10)) == at(13, 30)
    assert noon.ends(at(13, 30)) == at(13, 30)


def test_what_is_critical_waits_for_nobody_and_what_is_small_does_not_come() -> None:
    route = Route("pagerduty", Severity.WARNING, NIGHT)
    assert route.due(Severity.CRITICAL, at(23)) == at(23)
    assert route.due(Severity.INFO, at(12)) is None


@pytest.mark.parametrize("words", ["", "22-7", "24:00-07:00", "22:00", "22:60-07:00", "night"])
def test_other_words_are_no_hours(words: str) -> None:
    with pytest.raises(ValueError, match="22:00-07:00"):
        Quiet.read(words, UTC)


def test_a_severity_is_named() -> None:
    assert Severity.named("Critical") is Severity.CRITICAL
    with pytest.raises(ValueError, match="info, warning or critical"):
        Severity.named("bad")


@given(st.datetimes(timezones=st.just(UTC)), st.times(), st.times())
def test_the_quiet_hours_end_within_a_day_and_outside_of_themselves(
    moment: datetime, start: datetime, end: datetime
) -> None:
    quiet = Quiet(start.replace(tzinfo=None), end.replace(tzinfo=None), UTC)  # type: ignore[arg-type]
    if moment.year in (1, 9999):
        return
    ends = quiet.ends(moment)
    assert moment <= ends <= moment + timedelta(days=1)
    assert quiet.ends(ends) == ends


@given(st.integers(1, 500))
def test_the_pauses_grow_to_an_hour(attempts: int) -> None:
    pause = wait_after(attempts)
    assert timedelta(seconds=30) <= pause <= timedelta(hours=1)
    assert wait_after(attempts + 1) >= pause
