"""When an approval holds, and what is told of an outcome."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from reconciler_dagster.core.rehearsal import (
    FiringTrigger,
    Loses,
    Outcome,
    Report,
    expected_calls,
    moved,
    needs_a_look,
)

PLAN: dict[str, Any] = {
    "inserts": 100,
    "to_postgres": {"company": 2000},
    "to_airtable": {},
    "conflicts": {},
    "refused_in_postgres": {},
    "refused_in_airtable": {},
}
SHOWN = Report(listed=3000, leads=2900, without_record=0, own=0, change_set=PLAN)


def with_plan(**more: Any) -> Report:
    return replace(SHOWN, change_set=PLAN | more)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (SHOWN, 0),
        (with_plan(inserts=110), 0),
        (with_plan(inserts=111), 1),
        (with_plan(inserts=0, to_postgres={}), 0),
        (with_plan(to_postgres={"company": 2020}), 0),
        (with_plan(to_postgres={"company": 2021}), 1),
        (with_plan(conflicts={"notes": 11}), 1),
        (with_plan(refused_in_airtable={"hrq_status": 11}), 1),
        (replace(SHOWN, without_record=11), 1),
        (replace(SHOWN, rows=[{"table": "log", "kind": "inserted", "rows": 11}]), 1),
        (replace(SHOWN, triggers=[FiringTrigger("t", "leads", 11, [])]), 1),
    ],
)
def test_an_approval_holds_until_more_would_be_done(now: Report, told: int) -> None:
    assert len(moved(SHOWN, now)) == told


def test_what_needs_a_look() -> None:
    assert needs_a_look(with_plan(conflicts={"notes": 500})) == [], "what lost can be taken back"
    assert needs_a_look(with_plan(refused_in_postgres={"title": 1})) != []
    logger = FiringTrigger("logger", "leads", 5, ["CREATE ..."])
    rows = [{"table": "log", "kind": "inserted", "rows": 5}]
    assert needs_a_look(replace(SHOWN, triggers=[logger])) == [], "it writes nothing elsewhere"
    assert needs_a_look(replace(SHOWN, triggers=[logger], rows=rows)) != []
    assert needs_a_look(replace(SHOWN, triggers=[replace(logger, guard=[])], rows=rows)) == []


def test_a_report_is_the_same_after_it_was_kept() -> None:
    lost = Loses("rec1", "notes", "theirs", "ours", "first_contact")
    report = replace(SHOWN, loses=[lost], triggers=[FiringTrigger("t", "leads", 1, ["x"])])
    assert Report.from_json(asdict(report)) == report


def test_an_outcome_is_compared_field_by_field() -> None:
    report = with_plan(refused_in_postgres={"title": 2}, refused_in_airtable={"notes": 1})
    assert Outcome({}, {"title": 2}, {"notes": 1}).other_than(report) == []
    assert Outcome({}, {"title": 3}, {}).other_than(report) == [
        "title refused by Postgres: 2 cells were foreseen, 3 were",
        "notes refused by Airtable: 1 cells were foreseen, 0 were",
    ]


@pytest.mark.parametrize(
    ("listed", "outbound", "sendable", "calls"),
    [
        (0, 0, 0, 2),
        (100, 0, 0, 2),
        (101, 1, 1, 1 + 2 + 1 + 1),
        (3000, 120, 120, 1 + 30 + 2 + 12 + 2),
        (3000, 3000, 0, 1 + 30 + 30),
        (200, 200, 100, 1 + 2 + 2 + 10 + 1),
    ],
)
def test_calls_of_a_first_contact(listed: int, outbound: int, sendable: int, calls: int) -> None:
    assert expected_calls(listed, outbound, sendable) == calls
