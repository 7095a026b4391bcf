from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.normal import BY_TYPE, exact, form_of, identifier, key, pick

FORMS = [*BY_TYPE.values(), exact, key, identifier, form_of("singleSelect", ("A", " a", "Bc"))]


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text() | st.text(alphabet=" \t\r\n\\*_+-.1)aeEÉ\u0301\u00a0\u200b\u200d\u0130"))
def test_a_normal_form_is_its_own_normal_form(form: object, text: str) -> None:
    assert callable(form)
    once = form(text)
    assert form(once) == once


@pytest.mark.parametrize(
    "spelling",
    [
        "ann@portal.example",
        "Ann@Portal.Example",
        " ann@portal.example\u00a0",
        "\u200bann@portal.example\ufeff",
        "ann@portal.example\u202c\n",
    ],
)
def test_an_email_is_one_key_however_it_was_typed_or_pasted(spelling: str) -> None:
    assert key(spelling) == "ann@portal.example"


def test_one_letter_may_be_one_or_two_characters() -> None:
    assert key("Ren\u00e9@portal.example") == key("rene\u0301@portal.example")


def test_an_id_keeps_its_case() -> None:
    assert identifier(" appAbC\u00a0\u200b") == "appAbC"


@pytest.mark.parametrize(
    ("wanted", "names", "picked"),
    [
        ("Success", ["Success", " Success"], "Success"),
        (" Success", ["Success", " Success"], " Success"),
        ("Success ", ["Success", " Success"], None),
        ("Success\u00a0", ["Success", "Error"], "Success"),
        ("success", ["Success"], "Success"),
        ("Success", ["Error"], None),
        ("Success", [], None),
    ],
)
def test_the_very_name_goes_first_then_the_only_one_alike(
    wanted: str, names: list[str], picked: str | None
) -> None:
    assert pick(wanted, names) == picked


@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        ("richText", "__bold__ *it*", "**bold** _it_\n"),
        ("richText", "* one\n+ two\r\n\n1) three", "- one\n- two\n1. three\n"),
        ("richText", "snake_case, 2 \\* 3", "snake\\_case, 2 * 3\n"),
        ("richText", "\n", ""),
        ("multilineText", "a \r\nb\r\n", "a\nb"),
        ("multilineText", " \n", ""),
        ("singleLineText", "a\nb ", "a b"),
        ("email", "Ann@Example.com", "ann@example.com"),
        ("phoneNumber", "+1 555-0100", "+1 (555) 0100"),
    ],
)
def test_what_is_form_alone(type_: str, one: str, other: str) -> None:
    assert form_of(type_)(one) == form_of(type_)(other)


@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        ("richText", "**bold**", "bold"),
        ("richText", "snake_case", "snakecase"),
        ("richText", "a\nb", "a b"),
        ("multilineText", "*a*", "_a_"),
        ("multilineText", "a", "A"),
        ("singleLineText", "a  b", "ab"),
        ("phoneNumber", "+1 555 0100", "1 555 0100"),
        ("number", "1", "1.0"),
    ],
)
def test_what_is_more_than_form(type_: str, one: str, other: str) -> None:
    assert form_of(type_)(one) != form_of(type_)(other)
