"""Windows that are listed ahead of the runs that carry them out."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler_dagster.orchestration import listing


def test_what_was_listed_while_a_run_was_going_on_has_its_run_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not only when one more listing has come in: that may take as long as all of a window's."""
    groups = [["first"], ["meanwhile"], ["long"]]
    may_end = {month: Event() for (month,) in groups}
    staged = {month: Event() for (month,) in groups}

    def list_months(session: object, months: list[str], *_more: object, **_how: object) -> Any:
        assert may_end[months[0]].wait(60), f"{months[0]} was to end first"
        return months[0]

    monkeypatch.setattr(listing, "list_months", list_months)
    monkeypatch.setattr(
        listing, "stage_listed", lambda _session, listed, _key: staged[listed[0]].set()
    )
    session: Any = SimpleNamespace(users=(), run_id="great sync", map=SimpleNamespace(name="leads"))
    samples = {"leads": ()}  # so that all three are listed at a time

    may_end["first"].set()
    given = listing.listed_ahead([session], groups, samples)
    assert next(given)[0] == ["first"]
    may_end["meanwhile"].set()
    assert staged["meanwhile"].wait(60)
    assert next(given)[0] == ["meanwhile"]
    may_end["long"].set()
    assert [months for months, _ in given] == [["long"]]
