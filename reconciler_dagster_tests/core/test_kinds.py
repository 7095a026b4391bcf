"""Codecs of what real bases hold besides text: decimals, days, options, links, files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.answer import Verdict, judge
from reconciler_dagster.core.codecs import Codec, Text, Unchecked
from reconciler_dagster.core.dates import Date
from reconciler_dagster.core.links import Link, Links
from reconciler_dagster.core.lists import Attachments, Lookup, MultiSelect
from reconciler_dagster.core.numbers import Decimal
from reconciler_dagster.core.people import Collaborator, UserEmail
from reconciler_dagster.core.values import Directory, Unreadable

ONE, TWO, NEW = "recAAAAAAAAAAAAAA", "recBBBBBBBBBBBBBB", "recCCCCCCCCCCCCCC"


class Firms:
    """Rows of a sync that is linked to: two that have a record, and one of the portal's own."""

    def key_of_record(self, record_id: str) -> Any:
        return {ONE: 1, TWO: 2}.get(record_id)

    def record_of_key(self, key: str) -> str | None:
        return {"1": ONE, "2": TWO}.get(key)


USERS = Directory({"5d1f": "ann@x.example"}, {"firms": Firms()})
LINK, LINKS = Link(to="firms"), Links(to="firms")
FILE = {"id": "att1", "filename": "a.pdf", "type": "application/pdf", "size": 3, "url": "https://x"}


@pytest.mark.parametrize(
    ("codec", "cell", "value"),
    [
        (Decimal(), 12.5, 12.5),
        (Decimal(), 3.0, 3),
        (Decimal(scale=2), 0.1 + 0.2, 0.3),
        (Decimal(scale=2, rounds=True), 1.239, 1.24),
        (Date(), "2026-03-01", "2026-03-01"),
        (Date(), "2026-03-01T23:30:00-05:00", "2026-03-02"),
        (MultiSelect(), ["b", "a", "b"], ["a", "b"]),
        (MultiSelect(), [], None),
        (MultiSelect(words={"Hot": "h", "Cold": "c"}), ["hot ", "Cold"], ["c", "h"]),
        (Lookup(), ["a", 1], ["a", 1]),
        (Lookup(joined=True), ["a", 1], "a, 1"),
        (
            Attachments(),
            [FILE],
            [{"id": "att1", "name": "a.pdf", "type": "application/pdf", "size": 3}],
        ),
        (LINK, [ONE], ONE),
        (LINK, ONE, ONE),
        (LINK, None, None),
        (LINKS, [TWO, ONE], [ONE, TWO]),
        (Unchecked(), None, True),
        (Unchecked(), True, False),
        (Collaborator(), {"id": "usr1", "email": "Ann@x.example", "name": "Ann"}, "ann@x.example"),
        (UserEmail(), "5d1f", "ann@x.example"),
    ],
)
def test_a_cell_is_read(codec: Codec, cell: Any, value: Any) -> None:
    assert codec.from_airtable(cell, USERS) == value


@pytest.mark.parametrize(
    ("codec", "cell", "why"),
    [
        (Decimal(), True, "a number was expected"),
        (Decimal(scale=2), 1.239, "takes 2 decimals"),
        (Decimal(scale=2, digits=3), 1000.0, "too large"),
        (Decimal(), {"error": "#ERROR!"}, "a formula error"),
        (Date(), "soon", "no date"),
        (MultiSelect(), "a", "options were expected"),
        (MultiSelect(words={"Hot": "h"}), ["Odd"], "no meaning here"),
        (LINK, [ONE, TWO], "links to 2 records"),
        (LINK, "Acme", "a link was expected"),
        (LINKS, "Acme", "links were expected"),
        (Attachments(), ["a"], "attachments were expected"),
    ],
)
def test_a_cell_that_cannot_be_read_says_why(codec: Codec, cell: Any, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        codec.from_airtable(cell, USERS)


@pytest.mark.parametrize(
    ("codec", "value", "column"),
    [
        (LINK, ONE, 1),
        (LINK, None, None),
        (LINKS, [ONE, TWO], [1, 2]),
        (Decimal(), 12.5, 12.5),
        (Date(), "2026-03-01", "2026-03-01"),
        (Date(moments=True), "2026-03-01", "2026-03-01T00:00:00Z"),
        (MultiSelect(), ["a", "b"], ["a", "b"]),
    ],
)
def test_a_value_goes_to_postgres_and_comes_back(codec: Codec, value: Any, column: Any) -> None:
    assert codec.to_postgres(value, USERS) == column
    assert codec.from_postgres(column, USERS) == value


@pytest.mark.parametrize(
    ("codec", "value", "cell"),
    [
        (LINK, ONE, [ONE]),
        (LINK, None, []),
        (LINKS, [ONE, TWO], [ONE, TWO]),
        (LINKS, None, []),
        (MultiSelect(words={"Hot": "h"}), ["h"], ["Hot"]),
        (MultiSelect(), None, []),
        (Unchecked(), True, False),
        (Collaborator(), "ann@x.example", {"email": "ann@x.example"}),
        (Text(on_write={"Paused": "Stopped"}), "Paused", "Stopped"),
        (Text(on_write={"Paused": "Stopped"}), "Queued", "Queued"),
    ],
)
def test_a_value_is_written_to_airtable(codec: Codec, value: Any, cell: Any) -> None:
    assert codec.to_airtable(value) == cell


def test_a_link_whose_row_is_not_there_waits() -> None:
    with pytest.raises(Unreadable, match=f"{NEW} of firms, whose row is not there yet"):
        LINK.to_postgres(NEW, USERS)
    with pytest.raises(Unreadable, match="not there yet"):
        LINKS.to_postgres([ONE, NEW], USERS)


def test_a_row_of_the_portal_s_own_has_no_record() -> None:
    assert LINK.from_postgres(7, USERS) == "row 7"
    with pytest.raises(Unreadable, match="no record in Airtable yet"):
        LINK.to_airtable("row 7")


def test_what_is_written_in_its_place_is_taken_over_even_if_it_stood_there() -> None:
    codec = Text(on_write={"Paused": "Stopped"})
    assert judge(codec, "Paused", "Queued", "Stopped") is Verdict.RESPELLED
    assert judge(codec, "Paused", "Stopped", "Stopped") is Verdict.RESPELLED
    assert judge(codec, "Paused", "Queued", "Queued") is Verdict.KEPT


def test_what_airtable_holds_is_not_overwritten_by_a_value_that_gives_way() -> None:
    codec = Text(on_write={"Paused": "Stopped"}, never_over={"Paused": ("Completed",)})
    assert codec.gives_way("Paused", "Completed")
    assert not codec.gives_way("Paused", "Queued")
    assert not codec.gives_way("Stopped", "Completed")


def test_a_blank_value_is_written_as_the_option_of_that_name() -> None:
    assert Text(blank="Task").to_airtable("Task") is None
    assert Text(blank="Task", blank_cell="Task").to_airtable("Task") == "Task"


NAMED = Directory(
    {"5d1f": "ann@x.example", "6a": "bob@x.example", "7b": "bob2@x.example"},
    name_by_id={"5d1f": "Ann Keller", "6a": "Bob Ortiz", "7b": "bob  ortiz", "8c": "No Mail"},
)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("5D1F ", "ann@x.example"),
        (" ann  KELLER", "ann@x.example"),
        ("Ann@x.example", "ann@x.example"),
        ("Bob Ortiz", "bob ortiz"),
        ("No Mail", "no mail"),
    ],
)
def test_a_cell_that_names_one_user_is_read_as_that_user(cell: str, value: str) -> None:
    assert UserEmail().from_airtable(cell, NAMED) == value


def test_a_name_of_two_users_is_refused_where_it_is_to_be_written() -> None:
    with pytest.raises(Unreadable, match="2 portal users have that name: write the e-mail"):
        UserEmail().to_postgres("bob ortiz", NAMED)
    assert UserEmail().to_airtable("ann@x.example") == "ann@x.example"


@given(st.floats(-1e8, 1e8), st.integers(0, 6))
def test_a_decimal_comes_back_as_it_went(number: float, scale: int) -> None:
    codec = Decimal(scale=scale, rounds=True)
    value = codec.from_airtable(number, USERS)
    assert abs(value - number) <= 0.51 * 10**-scale + 1e-6
    assert codec.from_airtable(codec.to_airtable(value), USERS) == value
    assert codec.from_postgres(codec.to_postgres(value, USERS), USERS) == value


@given(st.lists(st.text(min_size=1, max_size=4)))
def test_the_order_of_options_is_no_edit(options: list[str]) -> None:
    codec = MultiSelect()
    there = codec.from_airtable(options, USERS)
    assert there == codec.from_airtable(list(reversed(options)), USERS)
    assert there == codec.from_postgres(options, USERS)
    assert codec.from_airtable(codec.to_airtable(there), USERS) == there
