from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.codecs import (
    Checkbox,
    Choice,
    DateTime,
    Flag,
    Integer,
    Text,
    Unchecked,
)
from reconciler_dagster.core.dates import Date
from reconciler_dagster.core.links import Link
from reconciler_dagster.core.lists import Attachments, CommaList, Lookup, MultiSelect
from reconciler_dagster.core.numbers import Decimal
from reconciler_dagster.core.people import UserEmail
from reconciler_dagster.core.reading import held
from reconciler_dagster.core.values import Directory, Unreadable
from reconciler_dagster_tests.mapping import LEADS

ANN_ID = "5b0c2a3e-0000-4000-8000-000000000001"
USERS = Directory({ANN_ID: "Ann@Portal.example"})
LEVELS = Choice(portal_by_airtable={"Green": "High", "Yellow": "Medium", "Red": "Low"})


@pytest.mark.parametrize(
    ("codec", "cell", "value"),
    [
        (Text(limit=5), "abc", "abc"),
        (Text(limit=5), None, None),
        (Text(limit=5), "", None),
        (Text(limit=9, blank="Unknown"), None, "Unknown"),
        (Checkbox(), None, False),
        (Checkbox(), True, True),
        (Integer(blank=0), None, 0),
        (Integer(), None, None),
        (Integer(), 3, 3),
        (Integer(), 3.0, 3),
        (Integer(), 2.9999999999999996, 3),
        (Integer(rounds=True), 2.5, 3),
        (Integer(rounds=True), -2.5, -2),
        (Text(), "\n", None),
        (Text(blank=""), "\r\n\n", ""),
        (Text(), " ", " "),
        (Text(padded=True, limit=4), "abc   ", "abc"),
        (DateTime(days=False), "2026-11-24T10:31Z", "2026-11-24T10:31:00.000Z"),
        (UserEmail(), "\u200bANN@portal.example\u00a0", "ann@portal.example"),
        (LEVELS, " green\u00a0", "High"),
        (Flag(), 1, True),
        (Flag(), 0, False),
        (Flag(), None, None),
        (DateTime(), "2026-11-24T08:31:02.000Z", "2026-11-24T08:31:02.000Z"),
        (DateTime(), "2026-11-24T08:31:02Z", "2026-11-24T08:31:02.000Z"),
        (DateTime(), "2026-11-24T10:31:02.123456+02:00", "2026-11-24T08:31:02.123Z"),
        (DateTime(), "2026-11-24", "2026-11-24T00:00:00.000Z"),
        (UserEmail(), " ANN@portal.example ", "ann@portal.example"),
        (UserEmail(), None, None),
        (LEVELS, "Green", "High"),
        (LEVELS, None, None),
        (CommaList(), "a, b,,c ", ["a", "b", "c"]),
        (CommaList(), " , ", None),
    ],
)
def test_from_airtable(codec: Any, cell: Any, value: Any) -> None:
    assert codec.from_airtable(cell, USERS) == value


@pytest.mark.parametrize(
    ("codec", "cell", "why"),
    [
        (Text(limit=3), "abcd", "4 characters long, the column takes 3"),
        (Text(), "a\x00b", "NUL"),
        (Text(), "\ud800", "surrogate"),
        (Text(), 5, "a number where text was expected"),
        (Integer(), {"error": "#ERROR!"}, "a formula error"),
        (Integer(), {"specialValue": "NaN"}, "no number"),
        (Integer(), float("inf"), "a whole number was expected"),
        (Integer(), True, "a checkbox value"),
        (Integer(), 2**31, "too large"),
        (Integer(), 0.4, "is 0.4, and the column takes whole numbers"),
        (Integer(), 1_500_000_000.4, "whole numbers"),
        (Integer(limit=2**15), 40_000, "too large"),
        (DateTime(days=False), "2026-11-24", "a day without a time"),
        (Integer(), "7", "text where a whole number was expected"),
        (Flag(), 2, "0 or 1"),
        (Checkbox(), "checked", "a checkbox was expected"),
        (DateTime(), "soon", "no date and time"),
        (DateTime(), "9999-12-31T23:59:59.999-23:00", "no date and time"),
        (UserEmail(), 7, "a number where text was expected"),
        (LEVELS, "Purple", "use Green, Yellow, Red"),
        (CommaList(), ["a"], "a list where text was expected"),
    ],
)
def test_what_cannot_be_read_says_why(codec: Any, cell: Any, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        codec.from_airtable(cell, USERS)


@pytest.mark.parametrize(
    ("codec", "value", "cell"),
    [
        (Text(blank="Unknown"), "Unknown", None),
        (Text(), "x", "x"),
        (Checkbox(), False, False),
        (DateTime(), None, None),
        (UserEmail(), "ann@portal.example", "ann@portal.example"),
        (LEVELS, "Low", "Red"),
        (LEVELS, None, None),
        (CommaList(), ["a", "b"], "a, b"),
    ],
)
def test_to_airtable(codec: Any, value: Any, cell: Any) -> None:
    assert codec.to_airtable(value) == cell


def test_a_user_crosses_as_id_and_email() -> None:
    assert UserEmail().from_postgres(ANN_ID, USERS) == "ann@portal.example"
    assert UserEmail().to_postgres("ann@portal.example", USERS) == ANN_ID
    with pytest.raises(Unreadable, match="not in the users table"):
        UserEmail().from_postgres("gone", USERS)


def test_an_email_of_two_users_is_nobodys() -> None:
    users = Directory({"1": "Ann@portal.example", "2": "ann@portal.example ", "3": "\u200b "})
    with pytest.raises(Unreadable, match="not in the users table"):
        UserEmail().from_postgres("3", users)
    assert UserEmail().from_postgres("2", users) == "ann@portal.example"
    with pytest.raises(Unreadable, match="2 portal users have that e-mail"):
        UserEmail().to_postgres("ann@portal.example", users)


@pytest.mark.parametrize(
    ("codec", "column", "value"),
    [
        (Text(padded=True), "abc   ", "abc"),
        (Text(padded=True), "      ", None),
        (Text(), "\n", None),
        (Integer(), 5.0, 5),
        (CommaList(), [" a", "b ", ""], ["a", "b"]),
    ],
)
def test_from_postgres(codec: Any, column: Any, value: Any) -> None:
    assert codec.from_postgres(column, USERS) == value


@pytest.mark.parametrize(
    ("column", "fingerprint"),
    [
        ("first_name", "82f850ed9864b4c1"),
        ("icp_score", "badeb5d3b32abd25"),
        ("claimed_by", "c5214195c84ac2fd"),
        ("claimed_at", "0cfaaec982a4f27e"),
        ("notes", "243fef211236079f"),
        ("engagement_level", "c3a4cf3f597bbfc8"),
    ],
)
def test_what_the_check_adds_to_a_codec_voids_no_baseline(column: str, fingerprint: str) -> None:
    """An upgrade that changes a fingerprint has every lead met anew: only on purpose."""
    assert LEADS[column].fingerprint == fingerprint


cells = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(cells)
def test_every_cell_is_read_as_json_or_refused(cell: Any) -> None:
    for field in LEADS:
        with suppress(Unreadable):
            json.dumps(field.codec.from_airtable(cell, USERS), allow_nan=False)


@given(cells)
def test_what_was_read_survives_the_way_to_airtable_and_back(cell: Any) -> None:
    """The form may change (a trimmed e-mail), the value must not: else there were an echo."""
    for field in LEADS:
        try:
            value = field.codec.from_airtable(cell, USERS)
        except Unreadable:
            continue
        assert field.codec.from_airtable(field.codec.to_airtable(value), USERS) == value


@given(cells)
def test_a_column_that_holds_the_canonical_value_is_read_as_that(cell: Any) -> None:
    """Who compares many leads leaves these cells to Postgres."""
    others = [Decimal(), Unchecked(), Date(), MultiSelect(), Lookup(), Attachments(), CommaList()]
    padded = Text(padded=True, limit=9)
    for codec in [field.codec for field in LEADS] + [*others, padded, LEVELS, Link(to="firms")]:
        with suppress(Unreadable):
            value = codec.from_airtable(cell, USERS)
            mapped = replace(LEADS["company"], codec=codec)
            assert held({"company": value}, mapped, USERS) == value


@given(st.datetimes(timezones=st.just(None)))
def test_postgres_microseconds_are_cut_not_rounded(moment: Any) -> None:
    text = moment.isoformat(timespec="microseconds") + "+00:00"
    value = DateTime().from_postgres(text, USERS)
    assert value == moment.isoformat(timespec="milliseconds") + "Z"
