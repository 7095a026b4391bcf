from __future__ import annotations

from reconciler_dagster.core.reading import Problems, Row, from_postgres, refuse
from reconciler_dagster.core.values import Directory
from reconciler_dagster_tests.mapping import LEADS


def no_x(text: str) -> str | None:
    return "contains an x" if "x" in text else None


def test_only_texts_that_cannot_be_stored_are_taken_out() -> None:
    row: Row = {"company": "xyz", "title": "abc", "sms_stop": True, "sms_sent_count": 3}
    problems: Problems = {}
    refuse(row, problems, LEADS, no_x)
    assert row == {"title": "abc", "sms_stop": True, "sms_sent_count": 3}
    assert problems == {"company": "Company contains an x"}


def test_texts_in_a_list_count_too() -> None:
    row: Row = {"company": ["abc", "x"], "title": ["abc"], "phone": None}
    problems: Problems = {}
    refuse(row, problems, LEADS, no_x)
    assert list(row) == ["title", "phone"]
    assert list(problems) == ["company"]


def test_bytes_that_are_no_text_stop_their_cell_alone() -> None:
    columns = dict.fromkeys(LEADS.columns)
    broken = b"caf\xe9".decode("utf-8", "surrogateescape")
    row, problems = from_postgres({**columns, "company": broken, "title": "a"}, LEADS, Directory())
    assert row["title"] == "a"
    assert "company" not in row
    assert problems == {
        "company": "company holds bytes that are no UTF-8, in a database that checks none: "
        "write it again"
    }
