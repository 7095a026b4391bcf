"""Windows that are listed ahead of the runs that carry them out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler_dagster.core.source import NotLetIn
from reconciler_dagster.engine.listing import Course
from reconciler_dagster.orchestration import listed_ahead
from reconciler_dagster.orchestration.listed_ahead import Windows
from reconciler_dagster.orchestration.listing import LISTED_LEADS


class Listings:
    """Listings that end when they may, each as a window of so many leads; ``staged``: by key, the
    first months of what was staged together.
    """

    def __init__(self, patch: pytest.MonkeyPatch, groups: list[list[str]], leads: int = 1) -> None:
        self.groups, self.leads, self.ended = groups, leads, Event()
        self.may_end = {group[0]: Event() for group in groups}
        self.fail: dict[str, Exception] = {}
        self.courses: dict[str, Course] = {}
        self.staged: dict[str, list[str]] = {}
        self.pool = ThreadPoolExecutor(len(groups))
        patch.setattr(listed_ahead, "list_months", self.list_months)
        patch.setattr(listed_ahead, "stage_listed", self.stage_listed)

    def list_months(self, session: object, months: list[str], key: str, *, course: Course) -> Any:
        self.courses[months[0]] = course
        assert self.may_end[months[0]].wait(60), f"{months[0]} was to end first"
        if months[0] in self.fail:
            raise self.fail[months[0]]
        return SimpleNamespace(months=months, window=SimpleNamespace(listed=self.leads))

    def stage_listed(self, session: object, listed: list[Any], key: str) -> None:
        self.staged[key] = [one.months[0] for one in listed]

    def windows(self) -> Windows:
        session: Any = SimpleNamespace(users=(), run_id="run", map=SimpleNamespace(name="leads"))
        at_a_time = len(self.groups)
        return Windows([session], self.groups, {}, at_a_time, self.pool, self.ended)

    def end(self, windows: Windows, *first: str) -> None:
        """Let some end, and wait until it is seen that they have."""
        for month in first:
            self.may_end[month].set()
            number = [group[0] for group in self.groups].index(month)
            for part in windows._waiting[number]:
                part.exception(60)


def months(*names: str) -> list[list[str]]:
    return [[name] for name in names]


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listings]:
    here = Listings(monkeypatch, months("2026-01-01", "2026-03-01", "2026-05-01"))
    yield here
    here.pool.shutdown()


def test_what_was_listed_while_a_run_was_going_on_has_its_run_next(listings: Listings) -> None:
    """Not only when one more listing has come in: that may take as long as all of a window's."""
    windows = listings.windows()
    given = windows.as_they_end()
    listings.end(windows, "2026-01-01")
    assert next(given).months == ["2026-01-01"]
    listings.end(windows, "2026-05-01")
    assert next(given).months == ["2026-05-01"]
    listings.end(windows, "2026-03-01")
    assert [ready.months for ready in given] == [["2026-03-01"]]


def test_neighbours_that_are_listed_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [["2026-01-01"], ["2026-02-01", "2026-03-01"], ["2026-05-01"], ["2026-06-01"]]
    listings = Listings(monkeypatch, groups)
    windows = listings.windows()
    listings.end(windows, *(group[0] for group in groups))
    given = list(windows.as_they_end())
    # Between them lies a month that was done before.
    assert [ready.months for ready in given] == [groups[0] + groups[1], groups[2] + groups[3]]
    assert [ready.windows for ready in given] == [2, 2]
    staged = [listings.staged[f"{ready.listed_as} leads"] for ready in given]
    assert staged == [["2026-01-01", "2026-02-01"], ["2026-05-01", "2026-06-01"]]


def test_no_run_takes_more_leads_than_a_window_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = months("2026-01-01", "2026-02-01", "2026-03-01")
    listings = Listings(monkeypatch, groups, leads=LISTED_LEADS // 2)
    windows = listings.windows()
    listings.end(windows, *(group[0] for group in groups))
    assert [ready.windows for ready in windows.as_they_end()] == [2, 1]


def test_a_window_that_could_not_be_listed_has_a_run_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = months("2026-01-01", "2026-02-01", "2026-03-01")
    listings = Listings(monkeypatch, groups)
    listings.fail["2026-02-01"] = ValueError("no answer")
    windows = listings.windows()
    listings.end(windows, *(group[0] for group in groups))
    given = list(windows.as_they_end())
    assert [(one.months, one.listed_as is None) for one in given] == [
        (["2026-01-01"], False),
        (["2026-02-01"], True),
        (["2026-03-01"], False),
    ]


def test_nobody_is_asked_again_who_lets_nobody_in(listings: Listings) -> None:
    listings.fail["2026-01-01"] = NotLetIn("Airtable does not take the token")
    windows = listings.windows()
    listings.end(windows, "2026-01-01", "2026-03-01", "2026-05-01")
    with pytest.raises(NotLetIn):
        next(windows.as_they_end())


def test_earlier_windows_call_first_and_the_last_are_cut_finer(listings: Listings) -> None:
    windows = listings.windows()
    listings.end(windows, "2026-01-01", "2026-03-01", "2026-05-01")
    courses = list(dict(sorted(listings.courses.items())).values())
    assert [course.rank for course in courses] == [1, 2, 3], "a run's own calls have rank 0"
    assert [course.chains for course in courses] == [2, 2, 3]
    assert all(course.ended is listings.ended for course in courses)
