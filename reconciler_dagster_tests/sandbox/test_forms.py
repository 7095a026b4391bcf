"""The forms in which Airtable keeps texts (facts §8), as the API and people write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyairtable import Table

from reconciler_dagster.sandbox.model.forms import LONGEST_SPAN, TEXT, kept_text, own_markdown
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.testing import SandboxClient


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("#header\n* bullet", "#header\n- bullet"),  # recorded
        ("* one\n  + two\n\t* three", "- one\n  - two\n\t- three"),
        (
            "*one* _two_ __three__ **four** ***five*** ___six___",
            "_one_ _two_ **three** **four** **_five_** **_six_**",
        ),
        ("*a __b__ c* __d *e* f__", "_a **b** c_ **d _e_ f**"),
        ("(*x*), *y*.", "(_x_), _y_."),
        ("* *x*", "- _x_"),
        ("2*3*4 snake__case__name 2 * 3 * 4 *", "2*3*4 snake__case__name 2 * 3 * 4 *"),
        ("\\*no\\* *nor\nover two lines*", "\\*no\\* *nor\nover two lines*"),
        ("`*x*` *y* `__z__`", "`*x*` _y_ `__z__`"),
        ("```\n* x\n*y*\n```\n* z", "```\n* x\n*y*\n```\n- z"),
        ("- one\n1. two\n*three", "- one\n1. two\n*three"),
        (f"*{'x' * (LONGEST_SPAN + 3)}*", f"*{'x' * (LONGEST_SPAN + 3)}*"),
        ("", ""),
    ],
)
def test_airtable_s_own_markdown(written: str, kept: str) -> None:
    assert own_markdown(written) == kept


_TEXTS = st.text(alphabet="*_+-`ab \t\r\n\\", max_size=40) | st.text(max_size=40)
_SWITCHES = st.builds(
    Switches,
    rich_text_form=st.sampled_from(["own", "as_written"]),
    trim_text=st.booleans(),
    crlf_to_lf=st.booleans(),
)


@given(_TEXTS, st.sampled_from(sorted(TEXT)), _SWITCHES)
def test_what_is_kept_stays_as_it_is(written: str, type_: str, switches: Switches) -> None:
    kept = kept_text(type_, written, switches)
    assert kept_text(type_, kept, switches) == kept


@given(_TEXTS, st.sampled_from(sorted(TEXT - {"richText"})))
def test_plain_text_is_kept_as_written(written: str, type_: str) -> None:
    assert kept_text(type_, written, Switches()) == written


@given(_TEXTS)
def test_switched_off_rich_text_is_kept_as_written(written: str) -> None:
    assert kept_text("richText", written, Switches(rich_text_form="as_written")) == written


@pytest.mark.parametrize(
    ("switches", "written", "kept"),
    [
        ({}, " a\r\nb ", {"Name": " a\r\nb ", "Rich": " a\r\nb \n"}),
        ({"trim_text": True}, " a\r\nb \n\u00a0", {"Name": "a\r\nb", "Rich": "a\r\nb\n"}),
        ({"crlf_to_lf": True}, "a\r\nb\rc ", {"Name": "a\nb\nc ", "Rich": "a\nb\nc \n"}),
        ({"trim_text": True}, " \n ", {}),
        ({"rich_text_form": "as_written"}, "* *a*", {"Name": "* *a*", "Rich": "* *a*"}),
        ({}, "* *a*", {"Name": "* *a*", "Rich": "- _a_\n"}),
    ],
)
def test_the_api_and_people_write_into_the_same_form(
    things: Table, everything: SandboxClient, switches: dict[str, Any], written: str, kept: Any
) -> None:
    everything.switch(**switches)
    cells = {"Name": written, "Rich": written}
    by_api = things.create(cells)
    by_hand = everything.add(cells)
    everything.edit(things.create({})["id"], cells)
    for record in (by_api, *things.all()):
        shown = {name: record["fields"][name] for name in cells if name in record["fields"]}
        assert shown == kept
    assert by_hand in {record["id"] for record in things.all()}


def test_rich_text_is_empty_until_it_is_typed_and_a_line_end_once_it_is_emptied(
    things: Table, everything: SandboxClient
) -> None:
    new = things.create({"Name": "n", "Rich": None})
    assert "Rich" not in new["fields"]
    assert "Rich" not in things.create({"Rich": ""})["fields"]
    modified = everything.record(new["id"])["lastModified"]
    everything.advance(60)
    assert "Rich" not in things.update(new["id"], {"Rich": None})["fields"]
    assert everything.record(new["id"])["lastModified"] == modified
    for emptied in (None, "", "\n"):
        things.update(new["id"], {"Rich": "typed"})
        assert things.update(new["id"], {"Rich": emptied})["fields"]["Rich"] == "\n"
    assert things.update(new["id"], {"Name": "m"}, replace=True)["fields"]["Rich"] == "\n"
    everything.switch(rich_text_form="as_written")
    assert "Rich" not in things.update(new["id"], {"Rich": None})["fields"]


def test_the_same_in_another_spelling_is_no_change(
    things: Table, everything: SandboxClient
) -> None:
    record = things.create({"Rich": "* *x*"})["id"]
    modified = everything.record(record)["lastModified"]
    everything.advance(60)
    for same in ("* *x*", "- _x_", "+ _x_\n"):
        assert things.update(record, {"Rich": same})["fields"]["Rich"] == "- _x_\n"
    assert everything.record(record)["lastModified"] == modified


def test_a_text_that_becomes_rich_takes_the_form(things: Table, everything: SandboxClient) -> None:
    record = things.create({"Long": "* *x*"})["id"]
    everything.retype_field("Long", "richText")
    assert things.get(record)["fields"]["Long"] == "- _x_\n"
