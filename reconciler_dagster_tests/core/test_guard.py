"""What is said of the facts of a database: each with its remedy, and nothing of people's data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler_dagster.core.guard import Facts, Fired, Trouble, problems, unwatched
from reconciler_dagster.core.records import is_record_id

WELL = Facts("public.leads", "r", "runner", "f", triggers=[Fired("public.leads", "t", "A")])
AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def test_where_all_is_well() -> None:
    assert problems(WELL) == []
    assert problems(replace(WELL, kind="p")) == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("D", "are not noted: the trigger t of public.leads is disabled."),
        ("O", "by replication and restores are not noted: the trigger t of public.leads"),
        ("R", "by ordinary sessions are not noted: the trigger t of public.leads"),
        ("missing", "the trigger t of public.leads is gone."),
        ("altered", "the trigger t of public.leads was altered."),
    ],
)
def test_each_state_of_a_trigger(state: str, said: str) -> None:
    facts = replace(WELL, triggers=[Fired("public.leads", "t", state)])
    (problem,) = problems(facts)
    assert said in problem.what
    assert "reconciler migrate" in problem.remedy
    assert not problem.stops
    assert list(unwatched(facts)) == [problem.what]


def test_what_is_said_of_several_has_one_remedy() -> None:
    facts = replace(WELL, functions=["reconciler.a", "reconciler.b"], unwritable=["reconciler.c"])
    (problem,) = problems(facts)
    assert problem.what.count("Edits in Postgres") == 3
    assert str(problem).count("reconciler migrate") == 1


def test_what_stops_a_run() -> None:
    for facts, said in (
        (replace(WELL, hidden=["public.leads"]), 'ALTER ROLE "runner" BYPASSRLS'),
        (replace(WELL, denied=["UPDATE ON public.leads"]), "lacks privileges: UPDATE ON public"),
        (replace(WELL, kind="v"), "is a view; expected a table"),
        (replace(WELL, kind=""), "is not there; expected a table"),
    ):
        (problem,) = problems(facts)
        assert problem.stops
        assert said in str(problem)


def test_trouble_is_told_without_a_foreign_text() -> None:
    trouble = Trouble("public.leads", "XX001", None, 1, AT, AT)
    (problem,) = problems(replace(WELL, troubles=[trouble]))
    assert problem.what == (
        "A transaction that wrote to public.leads could not be noted (2026-03-01 12:30 UTC): "
        "SQLSTATE XX001."
    )
    several = replace(trouble, sqlstate="RC001", message="it has no column", count=3)
    (problem,) = problems(replace(WELL, troubles=[several]))
    assert problem.what == (
        "3 transactions that wrote to public.leads could not be noted "
        "(2026-03-01 12:30 UTC to 2026-03-01 12:30 UTC): it has no column."
    )


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("recAAAAAAAAAAAAAA", True),
        ("rec0123456789abcd", True),
        ("manual-1", False),
        ("", False),
        (None, False),
        ("recAAAAAAAAAAAAAA ", False),
        ("recAAAAAAAAAAAAAA\n", False),
        ("RECAAAAAAAAAAAAAA", False),
        ("recAAAAAAAAAAAAA-", False),
    ],
)
def test_the_shape_of_a_record_id(text: object, is_one: bool) -> None:
    assert is_record_id(text) is is_one
