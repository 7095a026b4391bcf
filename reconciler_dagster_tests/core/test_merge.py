from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.appending import append
from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.fields import FieldMap, MappedField, Policy
from reconciler_dagster.core.merge import merge
from reconciler_dagster.core.normal import rich
from reconciler_dagster.core.plan import Plan, by_lead
from reconciler_dagster.core.values import UNKNOWN, frame

FIELDS = FieldMap(
    [
        MappedField("Owned", "owned", ("text",), Text()),
        MappedField("Shared", "shared", ("text",), Text(), both=True),
        MappedField("Notes", "notes", ("text",), Text(), both=True, policy=Policy.MERGE_APPENDS),
    ]
)


def decide(column: str, base: Any, remote: Any, local: Any, fields: FieldMap = FIELDS) -> Plan:
    """One cell; the other columns are the same on all sides."""
    rows = [
        {"owned": None, "shared": None, "notes": None, column: v} for v in (base, remote, local)
    ]
    baseline, there, here = (frame({"rec1": row}, fields.columns) for row in rows)
    return merge(baseline, there, here, fields)


def outcome(column: str, base: Any, remote: Any, local: Any, fields: FieldMap = FIELDS) -> str:
    """Where what is written, in short."""
    change = by_lead(decide(column, base, remote, local, fields)).get("rec1")
    if change is None:
        return "nothing"
    parts = []
    if column in change.agreed:
        parts.append("agreed")
    if column in change.to_postgres:
        parts.append(f"postgres={change.to_postgres[column]}")
    if column in change.to_airtable:
        parts.append(f"airtable={change.to_airtable[column]}")
    parts += [f"{c['kind']}:{c['losing']}" for c in change.conflicts]
    return " ".join(parts)


@pytest.mark.parametrize(
    ("column", "base", "remote", "local", "expected"),
    [
        ("shared", "a", "a", "a", "nothing"),
        ("shared", "a", "b", "a", "postgres=b"),
        ("shared", "a", None, "a", "postgres=None"),
        ("shared", "a", "a", "b", "airtable=b"),
        ("shared", "a", "a", None, "airtable=None"),
        ("shared", "a", "b", "b", "agreed"),
        ("shared", "a", "b", "c", "postgres=b both_edited:c"),
        ("shared", "a", None, "c", "postgres=None both_edited:c"),
        ("owned", "a", "a", "b", "postgres=a owned_by_airtable:b"),
        ("owned", "a", "b", "c", "postgres=b both_edited:c"),
        # first contact
        ("shared", UNKNOWN, "a", "a", "agreed"),
        ("shared", UNKNOWN, "a", "b", "postgres=a first_contact:b"),
        ("shared", UNKNOWN, None, "b", "airtable=b"),
        ("shared", UNKNOWN, "a", None, "postgres=a"),
        ("owned", UNKNOWN, None, "b", "nothing"),
        ("owned", UNKNOWN, "a", "b", "postgres=a first_contact:b"),
        # what is not known is left alone
        ("shared", "a", UNKNOWN, "b", "nothing"),
        ("shared", "a", "b", UNKNOWN, "nothing"),
        # appends
        ("notes", "a", "a\nz", "a\nx", "postgres=a\nz\nx airtable=a\nz\nx"),
        ("notes", None, "z", "x", "postgres=z\nx airtable=z\nx"),
        ("notes", "a", "z", "other", "postgres=z both_edited:other"),
        ("notes", "a", None, "a\nx", "postgres=x airtable=x"),
    ],
)
def test_one_cell(column: str, base: Any, remote: Any, local: Any, expected: str) -> None:
    assert outcome(column, base, remote, local) == expected


RICH = FieldMap(
    [
        MappedField("Shared", "shared", ("text",), Text(form=rich), both=True),
        MappedField(
            "Notes",
            "notes",
            ("text",),
            Text(form=rich),
            both=True,
            policy=Policy.MERGE_APPENDS,
        ),
        MappedField("Owned", "owned", ("text",), Text(form=rich)),
    ]
)


@pytest.mark.parametrize(
    ("column", "base", "remote", "local", "expected"),
    [
        # two spellings of one text: Airtable's stands, and nothing is lost
        ("shared", "a", "**b**\n", "__b__", "postgres=**b**\n"),
        ("shared", UNKNOWN, "**b**\n", "__b__", "postgres=**b**\n"),
        ("owned", UNKNOWN, "**b**\n", "__b__", "postgres=**b**\n"),
        # a respelled cell is no edit of Airtable's, nor of the portal's
        ("shared", "__a__", "**a**\n", "b", "airtable=b"),
        ("shared", "__a__", "**a**\n", None, "airtable=None"),
        ("shared", "**a**\n", "b\n", "__a__", "postgres=b\n"),
        ("notes", "__a__", "**a**\n", "b", "airtable=b"),
        ("notes", "__a__", "**a**\n", None, "airtable=None"),
        ("notes", "**a**\n", None, "__a__", "postgres=None"),
        ("notes", "__a__", "**a**\n", "__a__\nx", "postgres=**a**\nx airtable=**a**\nx"),
        ("owned", "__a__", "**a**\n", "b", "postgres=**a**\n owned_by_airtable:b"),
        # what one side alone has edited is carried over as it is
        ("shared", "a", "a", "a ", "airtable=a "),
        ("shared", "a", "a ", "a", "postgres=a "),
        # both edited, and not in form alone
        ("shared", "__a__", "**b**\n", "c", "postgres=**b**\n both_edited:c"),
        # a text of blanks alone is blank where nobody knows who edited
        ("shared", UNKNOWN, " \n \n", "b", "airtable=b"),
        ("shared", UNKNOWN, "b", " ", "postgres=b"),
        ("owned", UNKNOWN, "  ", "b", "nothing"),
    ],
)
def test_what_differs_in_form_alone_is_no_edit(
    column: str, base: Any, remote: Any, local: Any, expected: str
) -> None:
    assert outcome(column, base, remote, local, RICH) == expected


def test_a_value_that_nothing_blank_overwrites_is_told() -> None:
    held = decide("owned", UNKNOWN, None, "kept").held_back
    assert held.to_dict("records") == [
        {"record_id": "rec1", "field": "owned", "old": "kept", "new": None}
    ]


def test_a_record_without_a_lead_is_inserted_and_a_lead_without_a_record_is_left() -> None:
    row = dict.fromkeys(FIELDS.columns)
    none = frame({}, FIELDS.columns)
    assert merge(none, frame({"rec1": row}, FIELDS.columns), none, FIELDS).inserts == ["rec1"]
    assert merge(none, none, frame({"rec1": row}, FIELDS.columns), FIELDS).is_empty


@pytest.mark.parametrize(
    ("base", "remote", "local", "merged"),
    [
        ("a\nb", "a", "a\nb\nc", "a\nc"),  # a line deleted in Airtable stays deleted
        ("a", "a\nx\ny", "a\nx", "a\nx\ny"),  # Airtable has the addition already
        ("a", "a\ny", "a\ny\nx", "a\ny\nx"),  # the portal has Airtable's already
        ("a", "a\ny\nz", "a\ny\nx", "a\ny\nz\nx"),  # a push cut off half way is not repeated
        ("a", "head a", "a\nx", "head a\nx"),
        ("a", "b", "c", None),
        # Whole lines: nobody's half is put on top, and no beginning is taken for the whole.
        ("v1", "z", "v19", None),
        ("Called", "z", "Called, wants an offer", None),
        ("a", "a\nx2", "a\nx", "a\nx2\nx"),
        ("", "v1", "v12", "v1\nv12"),
        ("a", "z", "a\r\nx", "z\nx"),
    ],
)
def test_append(base: str, remote: str, local: str, merged: str | None) -> None:
    assert append(base, remote, local) == merged


values = st.sampled_from([None, "a", "b", "c", "a\nx", "a\ny", "a\ny\nx", UNKNOWN])
cells = st.fixed_dictionaries(dict.fromkeys(FIELDS.columns, values))
sides = st.dictionaries(st.sampled_from(["rec1", "rec2", "rec3"]), cells)


def carried_out(
    plan: Plan, baseline: dict[str, Any], remote: dict[str, Any], local: dict[str, Any]
) -> None:
    """What the engine does with a plan, in three lines."""
    for record_id, change in by_lead(plan).items():
        if change.insert:
            local[record_id] = dict(remote[record_id])
            baseline[record_id] = dict(remote[record_id])
            continue
        local[record_id] = local[record_id] | change.to_postgres
        remote[record_id] = remote[record_id] | change.to_airtable
        agreed = change.agreed | change.to_postgres | change.to_airtable
        baseline[record_id] = baseline.get(record_id, {}) | agreed


@given(baseline=sides, remote=sides, local=sides)
def test_a_merge_carried_out_leaves_nothing_to_merge(
    baseline: dict[str, Any], remote: dict[str, Any], local: dict[str, Any]
) -> None:
    def plan() -> Plan:
        frames = (frame(side, FIELDS.columns) for side in (baseline, remote, local))
        return merge(*frames, FIELDS)  # type: ignore[call-arg]

    carried_out(plan(), baseline, remote, local)
    assert plan().is_empty


@given(baseline=cells, remote=cells, local=cells)
def test_an_edit_on_one_side_alone_stands_and_nothing_is_invented(
    baseline: dict[str, Any], remote: dict[str, Any], local: dict[str, Any]
) -> None:
    sides = ({"rec1": baseline}, {"rec1": remote}, {"rec1": local})
    frames = (frame(side, FIELDS.columns) for side in sides)
    change = by_lead(merge(*frames, FIELDS)).get("rec1")  # type: ignore[call-arg]
    for column in FIELDS.columns:
        base, there, here = baseline[column], remote[column], local[column]
        new_here = change.to_postgres.get(column, here) if change else here
        new_there = change.to_airtable.get(column, there) if change else there
        if column != "notes":
            assert {new_here, new_there} <= {base, there, here}
        if UNKNOWN in (base, there, here):
            continue
        if there != base and here == base:
            assert (new_here, new_there) == (there, there)
        if here != base and there == base and column != "owned":
            assert (new_here, new_there) == (here, here)
        lost = [c["losing"] for c in change.conflicts if c["field"] == column] if change else []
        if column == "shared" and there != base and here not in (base, there):
            assert (new_here, new_there, lost) == (there, there, [here])


lines = st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=3)


@given(base=lines, ours=lines, theirs=lines)
def test_appended_lines_all_survive(base: list[str], ours: list[str], theirs: list[str]) -> None:
    before = "\n".join(base)
    local = "\n".join([*base, *(f"portal {i} {line}" for i, line in enumerate(ours))])
    remote = "\n".join([*base, *(f"airtable {i} {line}" for i, line in enumerate(theirs))])
    merged = append(before, remote, local)
    assert merged is not None
    for line in itertools.chain(local.splitlines(), remote.splitlines()):
        assert line in merged.splitlines()
    assert len(merged.splitlines()) == len(base) + len(ours) + len(theirs)
