"""What a definition may say of a field beyond who edits it: whose value stands, and what fills."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.fields import FieldMap, MappedField, Policy
from reconciler_dagster.core.merge import merge
from reconciler_dagster.core.plan import LeadChange, by_lead
from reconciler_dagster.core.values import UNKNOWN, frame

FIELDS = FieldMap(
    [
        MappedField("P", "postgres", ("t",), Text(), both=True, policy=Policy.POSTGRES_WINS),
        MappedField("H", "hold", ("t",), Text(), both=True, policy=Policy.HOLD),
        MappedField("F", "fills", ("t",), Text(), fills=True),
        MappedField("R", "required", ("t",), Text(), required=True),
        MappedField(
            "S",
            "stands",
            ("t",),
            Text(on_write={"Paused": "Stopped"}, never_over={"Paused": ("Done",)}),
            both=True,
        ),
    ]
)
NOTHING = LeadChange()


def decide(column: str, base: Any, there: Any, here: Any) -> LeadChange:
    """One cell; the others are the same on all sides."""
    rest = dict.fromkeys(FIELDS.columns, "same")
    sides = (frame({"rec1": rest | {column: v}}, FIELDS.columns) for v in (base, there, here))
    return by_lead(merge(*sides, FIELDS)).get("rec1", NOTHING)  # type: ignore[call-arg]


def told(column: str, base: Any, there: Any, here: Any) -> str:
    change = decide(column, base, there, here)
    parts = [
        f"{k}={v}"
        for k, v in (
            ("postgres", change.to_postgres),
            ("airtable", change.to_airtable),
            ("agreed", change.agreed),
            ("held", change.held),
        )
        if v
        for v in v.values()
    ]
    return " ".join(parts + [f"{c['winning']}>{c['losing']}" for c in change.conflicts])


@pytest.mark.parametrize(
    ("column", "base", "there", "here", "expected"),
    [
        ("stands", "Queued", "Queued", "Paused", "airtable=Paused"),
        ("stands", "Queued", "Stopped", "Paused", "postgres=Stopped"),
        ("stands", "Stopped", "Stopped", "Paused", "postgres=Stopped"),
        ("stands", UNKNOWN, "Stopped", "Paused", "postgres=Stopped"),
        ("stands", "Done", "Done", "Paused", "postgres=Done Done>Paused"),
        ("stands", "Queued", "Done", "Paused", "postgres=Done Done>Paused"),
        ("stands", "Done", "Done", "Stopped", "airtable=Stopped"),
        ("postgres", "a", "b", "a", "postgres=b"),
        ("postgres", "a", "a", "c", "airtable=c"),
        ("postgres", "a", "b", "c", "airtable=c c>b"),
        ("postgres", "a", None, "c", "airtable=c c>None"),
        ("postgres", UNKNOWN, "b", "c", "airtable=c c>b"),
        ("postgres", UNKNOWN, "b", None, "postgres=b"),
        ("postgres", UNKNOWN, None, "c", "airtable=c"),
        ("hold", "a", "b", "a", "postgres=b"),
        ("hold", "a", "a", "c", "airtable=c"),
        ("hold", "a", "b", "c", "held=('b', 'c')"),
        ("hold", "a", None, "c", "held=(None, 'c')"),
        ("hold", UNKNOWN, "b", "c", "held=('b', 'c')"),
        ("hold", UNKNOWN, None, "c", "airtable=c"),
        ("fills", "a", "b", None, "postgres=b"),
        ("fills", "a", "b", "own", "agreed=b"),
        ("fills", "b", "b", "own", ""),
        ("fills", UNKNOWN, "b", "own", "agreed=b"),
        ("fills", UNKNOWN, None, "own", "agreed=None"),
        ("fills", "b", None, "b", "agreed=None"),
        ("fills", "b", "b", None, "postgres=b"),
        ("required", "a", "b", "a", "postgres=b"),
        ("required", "a", None, "a", ""),
    ],
)
def test_one_cell(column: str, base: Any, there: Any, here: Any, expected: str) -> None:
    assert told(column, base, there, here) == expected


def test_a_record_without_what_a_row_needs_has_none() -> None:
    rest = dict.fromkeys(FIELDS.columns, "x")
    there = frame({"rec1": rest, "rec2": rest | {"required": None}}, FIELDS.columns)
    nobody = frame({}, FIELDS.columns)
    assert merge(nobody, there, nobody, FIELDS).inserts == ["rec1"]


CELLS = st.sampled_from([UNKNOWN, None, "a", "b", "c"])


@given(base=CELLS, there=CELLS, here=CELLS)
def test_a_cell_on_hold_is_written_nowhere_while_both_say_something_else(
    base: Any, there: Any, here: Any
) -> None:
    change = decide("hold", base, there, here)
    if change.held:
        assert there != here
        written = [change.to_postgres, change.to_airtable, change.agreed, change.conflicts]
        assert not any(written)
    elif UNKNOWN not in (base, there, here) and there != here and base not in (there, here):
        raise AssertionError("both edited, and somebody's value was taken")


@given(base=CELLS, there=CELLS, here=CELLS)
def test_what_stands_in_a_filled_column_stays(base: Any, there: Any, here: Any) -> None:
    change = decide("fills", base, there, here)
    if here not in (None, UNKNOWN):
        assert not any([change.to_postgres, change.to_airtable, change.conflicts])


@given(base=CELLS, there=CELLS, here=CELLS)
def test_of_a_clash_that_postgres_wins_airtable_s_value_is_kept(
    base: Any, there: Any, here: Any
) -> None:
    change = decide("postgres", base, there, here)
    if UNKNOWN not in (base, there, here) and there != here and base not in (there, here):
        assert change.to_airtable == {"postgres": here}
        assert [(c["winning"], c["losing"]) for c in change.conflicts] == [(here, there)]
        assert not change.to_postgres
