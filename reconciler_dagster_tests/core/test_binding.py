from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler_dagster.core.binding import bind
from reconciler_dagster.core.bound import Binding, BoundMap
from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.fields import FieldMap, MappedField
from reconciler_dagster.core.pairs import AirtableField, Column
from reconciler_dagster.core.sync import SyncMap
from reconciler_dagster.core.table import Table

FIELDS = FieldMap(
    [
        MappedField("Company", "company", ("singleLineText",), Text(limit=255)),
        MappedField("Status", "status", ("singleSelect", "formula"), Text(limit=50), both=True),
    ]
)
SYNC = SyncMap("leads", "Leads", Table("public", "leads", "id", "record"), FIELDS)
COMPANY = AirtableField("fld1", "Company", "singleLineText")
STATUS = AirtableField("fld2", "Status", "singleSelect", ("A", "B"))
COLUMNS = [Column("company", 255, True), Column("status", 50, True)]


def check(
    *fields: AirtableField, columns: list[Column] = COLUMNS, before: BoundMap | None = None
) -> BoundMap:
    remembered = {b.column: b for b in before.bindings} if before else {}
    return bind(SYNC, fields, columns, remembered)


def test_all_well() -> None:
    bound = check(COMPANY, STATUS)
    assert bound.problems == []
    assert bound.id_by_column == {"company": "fld1", "status": "fld2"}
    assert bound.choices("status") == ("A", "B")
    again = check(COMPANY, STATUS, before=bound)
    assert (again.bindings, again.changed, again.notes) == (bound.bindings, (), ())


def test_a_rename_is_followed_and_told() -> None:
    renamed = replace(COMPANY, name="Firm")
    bound = check(renamed, STATUS, before=check(COMPANY, STATUS))
    assert bound.id_by_column["company"] == "fld1"
    assert bound.notes == ("'Company' is now called 'Firm'; followed by its id.",)
    assert bound.changed == ()


@pytest.mark.parametrize(
    ("fields", "columns", "problem"),
    [
        ((STATUS,), COLUMNS, "the table has no such field"),
        ((replace(COMPANY, type="checkbox"), STATUS), COLUMNS, "it is of type checkbox"),
        ((COMPANY, STATUS), COLUMNS[1:], "leads has no column company"),
        ((COMPANY, STATUS), [Column("company", 255, False), COLUMNS[1]], "is NOT NULL"),
    ],
)
def test_a_field_that_does_not_fit_is_stopped_alone(
    fields: tuple[AirtableField, ...], columns: list[Column], problem: str
) -> None:
    bound = check(*fields, columns=columns)
    assert len(bound.problems) == 1
    assert bound.problems[0].startswith("'Company' is stopped")
    assert problem in bound.problems[0]
    assert bound.fields.columns == ["status"]
    assert "company" not in bound.id_by_column


def test_a_shared_field_must_be_writable() -> None:
    bound = check(COMPANY, replace(STATUS, type="formula"))
    assert "expected singleSelect; change it back" in bound.problems[0]


def test_a_field_that_comes_back_is_met_as_if_for_the_first_time() -> None:
    stopped = check(replace(COMPANY, type="checkbox"), STATUS, before=check(COMPANY, STATUS))
    back = check(COMPANY, STATUS, before=stopped)
    assert back.problems == []
    assert back.changed == ("company",)
    assert check(COMPANY, STATUS, before=back).changed == ()


def test_a_deleted_field_made_anew_under_its_name_is_met_as_if_for_the_first_time() -> None:
    new = replace(COMPANY, id="fld9")
    bound = check(new, STATUS, before=check(COMPANY, STATUS))
    assert bound.changed == ("company",)
    assert bound.id_by_column["company"] == "fld9"


def test_another_codec_or_policy_voids_the_baselines_of_that_field() -> None:
    before = check(COMPANY, STATUS)
    older = replace(
        before, bindings=(replace(before.bindings[0], fingerprint="other"), *before.bindings[1:])
    )
    assert check(COMPANY, STATUS, before=older).changed == ("company",)


def test_a_shorter_column_shortens_what_is_taken() -> None:
    bound = check(COMPANY, STATUS, columns=[Column("company", 80, True), COLUMNS[1]])
    codec = bound.fields["company"].codec
    assert isinstance(codec, Text)
    assert codec.limit == 80


def test_an_undo_of_a_deletion_is_recognised_by_the_remembered_id() -> None:
    gone = check(STATUS, before=check(COMPANY, STATUS))
    binding: Binding = gone.bindings[0]
    assert binding.field_id == "fld1"
    assert (
        check(replace(COMPANY, name="Firm"), STATUS, before=gone).id_by_column["company"] == "fld1"
    )


def test_a_column_that_a_new_lead_needs_and_nobody_fills_is_named() -> None:
    needs = Column("region", None, False)
    filled = [Column(n, None, False, is_filled=True) for n in ("id", "client_id", "record")]
    may = [Column("mood", None, False, has_default=True), Column("free", None, True)]
    created = Column("created_at", None, False, is_filled=True)
    bound = check(COMPANY, STATUS, columns=[*COLUMNS, needs, *filled, *may, created])
    (sentence,) = bound.unfilled
    assert sentence.startswith("leads.region is NOT NULL without default and not mapped")
    odd = check(COMPANY, STATUS, columns=[*COLUMNS, Column("created_at", None, False)])
    assert "leads.created_at" in odd.unfilled[0]


def test_a_column_that_postgres_fills_itself_cannot_be_mapped() -> None:
    columns = [Column("company", 255, True, generated=True), COLUMNS[1]]
    (problem,) = check(COMPANY, STATUS, columns=columns).problems
    assert "filled by Postgres itself" in problem


def test_a_field_that_a_row_needs_may_feed_a_column_that_needs_a_value() -> None:
    needed = SyncMap("t", "T", SYNC.table, FieldMap([replace(FIELDS["company"], required=True)]))
    strict = [Column("company", 255, False)]
    assert bind(needed, [COMPANY], strict, {}).problems == []
    assert "cannot hold an empty cell" in check(COMPANY, STATUS, columns=strict).problems[0]


def test_of_several_fields_those_that_the_base_has_are_bound_and_followed() -> None:
    several = SyncMap(
        "t", "T", SYNC.table, FieldMap([replace(FIELDS["company"], also=("Firm", "Shop"))])
    )
    firm, shop = replace(COMPANY, id="fld8", name="Firm"), replace(COMPANY, id="fld9", name="Shop")
    bound = bind(several, [shop, COMPANY], COLUMNS, {})
    assert bound.ids_by_column == {"company": ["fld1", "fld9"]}
    remembered = {b.column: b for b in bound.bindings}
    renamed = bind(several, [replace(shop, name="Store"), COMPANY, firm], COLUMNS, remembered)
    assert renamed.ids_by_column == {"company": ["fld1", "fld8", "fld9"]}
    assert renamed.notes == ("'Shop' is now called 'Store'; followed by its id.",)
    (none,) = bind(several, [STATUS], COLUMNS, {}).problems
    assert "no such field" in none


def test_a_definition_that_names_another_field_is_followed_and_met_anew() -> None:
    shop = replace(COMPANY, id="fld9", name="Shop")
    before = {b.column: b for b in check(COMPANY, STATUS).bindings}
    for sources, ids in ((("Shop",), ["fld9"]), (("Shop", "Firm"), ["fld9"])):
        edited = replace(FIELDS["company"], airtable=sources[0], also=sources[1:])
        other = SyncMap("t", "T", SYNC.table, FieldMap([edited]))
        bound = bind(other, [COMPANY, shop], COLUMNS, before)
        assert bound.ids_by_column == {"company": ids}
        assert bound.changed == ("company",)
        # Of an older version's binding it is not known what it was of.
        older = {"company": replace(before["company"], also=())}
        if len(sources) > 1:
            assert bind(other, [COMPANY, shop], COLUMNS, older).ids_by_column == {"company": ids}


def test_an_optional_field_that_was_there_and_is_lost_is_stopped() -> None:
    """It is no field that this base does not have: somebody has deleted it."""
    may = SyncMap("t", "T", SYNC.table, FieldMap([replace(FIELDS["company"], optional=True)]))
    before = {b.column: b for b in bind(may, [COMPANY], COLUMNS, {}).bindings}
    lost = bind(may, [STATUS], COLUMNS, before)
    assert "'Company' is stopped" in lost.problems[0]
    remembered = {b.column: b for b in lost.bindings}
    assert bind(may, [STATUS], COLUMNS, remembered).problems == lost.problems
    assert bind(may, [COMPANY], COLUMNS, remembered).problems == []


def test_a_field_that_a_base_may_do_without_is_no_problem_and_met_when_it_comes() -> None:
    may = SyncMap("t", "T", SYNC.table, FieldMap([replace(FIELDS["company"], optional=True)]))
    without = bind(may, [STATUS], COLUMNS, {})
    assert (without.problems, without.fields.columns) == ([], [])
    remembered = {b.column: b for b in without.bindings}
    again = bind(may, [STATUS], COLUMNS, remembered)
    assert again.bindings == without.bindings
    there = bind(may, [COMPANY], COLUMNS, remembered)
    assert (there.fields.columns, there.changed) == (["company"], ("company",))
