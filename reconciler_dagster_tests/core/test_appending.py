from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.appending import append, has_got
from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.normal import rich
from reconciler_dagster.sandbox.model.forms import kept_text
from reconciler_dagster.sandbox.switches import Switches

RICH = Text(form=rich).normal


@pytest.mark.parametrize(
    ("base", "there", "here", "merged"),
    [
        # the portal's text differs from Airtable's in form alone: nothing was added
        ("**a**", "**a**\n", "__a__\n* x", "**a**\n* x"),
        ("- a\n- x\n", "- a\n- x\n- y\n", "* a\r\n* x", "- a\n- x\n- y\n"),
        ("a", "a\n- **x**\n", "a\n* __x__", "a\n- **x**\n"),
        ("a", "a\n- **x**\n", "a\n* __x__\n* y", "a\n- **x**\n* y"),
        ("a\n", "head\na\n- x\n", "a\n\n* x", "head\na\n- x\n"),
        ("a\n\n\n", "a\nz\n", "a\nx", "a\nz\nx"),
        # a text that was written anew is no addition
        ("**a**\n", "**a**\n- z\n", "b", None),
        ("**a**\n", "b\n", None, None),
        # cleared in Airtable: the addition stands alone
        ("**a**\n", None, "__a__\nx", "x"),
        # what Airtable has got meanwhile is not put on top of it, however often it stood before
        ("a", "a!\nx\n", "a\nx", "a!\nx\n"),
        ("x", "head\nx\n", "x\nx", "head\nx\nx"),
    ],
)
def test_additions_are_compared_in_their_normal_form(
    base: Any, there: Any, here: Any, merged: Any
) -> None:
    assert append(base, there, here, RICH) == merged


@pytest.mark.parametrize(
    ("base", "there", "sent", "got"),
    [
        ("a", "head\na\n- **x**\n", "a\n* __x__", True),
        ("a", "- **x**\na\n", "a\n* __x__", True),
        ("x", "head\nx\n", "x\nx", False),
        ("a", "a\n", "a\nx", False),
        ("a", "anew\n", "anew", False),
    ],
)
def test_what_was_added_is_known_again(base: Any, there: Any, sent: Any, got: bool) -> None:
    assert has_got(base, there, sent, RICH) is got


SPELLED = st.sampled_from(["{}", "* {}", "+ __{}__", "*{}*", "{} ", "\t- {}", "**{}** _{}_"])
FORMS = st.builds(
    Switches,
    rich_text_form=st.sampled_from(["own", "as_written"]),
    trim_text=st.booleans(),
    crlf_to_lf=st.booleans(),
)


@given(
    texts=st.lists(SPELLED, min_size=1, max_size=5),
    before=st.integers(0, 2),
    ends=st.sampled_from(["\n", "\r\n", "\n\n"]),
    forms=FORMS,
)
def test_what_airtable_made_of_a_note_is_never_added_to_it_again(
    texts: list[str], before: int, ends: str, forms: Switches
) -> None:
    """Whatever of it was agreed on before, in whichever spelling."""
    lines = [text.format(f"v{i}", f"w{i}") for i, text in enumerate(texts)]
    here = ends.join(lines)
    there = kept_text("richText", here, forms)
    for base in (
        ends.join(lines[:before]),
        kept_text("richText", "\n".join(lines[:before]), forms),
    ):
        assert append(base, there, here, RICH) == there
        merged = append(base, f"on top\n{there}", here, RICH)
        assert merged == (f"on top\n{there}" if before < len(lines) else None)
