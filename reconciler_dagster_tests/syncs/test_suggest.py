from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.syncs.suggest import ColumnSeen, FieldSeen, guesses, own_columns

IDS = [f"rec{n:014d}" for n in range(20)]


def by_column(fields: list[FieldSeen], columns: list[ColumnSeen]) -> dict[str, str | None]:
    return {guess.column: guess.field for guess in guesses(fields, columns)}


def test_names_that_say_the_same() -> None:
    fields = [
        FieldSeen("First Name", "singleLineText"),
        FieldSeen("Job Title", "singleLineText"),
        FieldSeen("Company LinkedIn", "url"),
        FieldSeen("SMS Variant", "singleSelect"),
        FieldSeen("SMS Stop", "checkbox"),
    ]
    columns = [
        ColumnSeen("first_name", "varchar"),
        ColumnSeen("title", "varchar"),
        ColumnSeen("company_linkedin", "varchar"),
        ColumnSeen("campaign_variant", "varchar"),
        ColumnSeen("sms_stop", "bool"),
        ColumnSeen("unheard_of", "varchar"),
    ]
    assert by_column(fields, columns) == {
        "first_name": "First Name",
        "title": "Job Title",
        "company_linkedin": "Company LinkedIn",
        "campaign_variant": "SMS Variant",
        "sms_stop": "SMS Stop",
    }


def test_names_that_several_fields_share_are_left_to_a_person() -> None:
    fields = [FieldSeen(f"{what} Status", "singleSelect") for what in ("SMS", "HRQ", "Stage")]
    (guess,) = guesses(fields, [ColumnSeen("status", "varchar")])
    assert guess.field is None
    assert set(guess.others) == {"SMS Status", "HRQ Status", "Stage Status"}


def test_a_shipped_definition_of_the_table_says_more_than_a_likeness() -> None:
    """One field may feed two columns there; a type that does not fit, or other values, rule out."""
    fields = [
        FieldSeen("Campaign (CORRECTED)", "singleSelect"),
        FieldSeen("Lead Source", "singleSelect"),
        FieldSeen("SMS Status", "singleSelect"),
        FieldSeen("HRQ Status", "singleSelect"),
        FieldSeen("Score", "checkbox"),
        FieldSeen("Code", "singleLineText", {r: f"a{r}" for r in IDS}),
        FieldSeen("Job Title", "singleLineText"),
    ]
    columns = [
        ColumnSeen("lead_source", "varchar"),
        ColumnSeen("campaign_name", "varchar"),
        ColumnSeen("status", "varchar"),
        ColumnSeen("score", "int4"),
        ColumnSeen("code", "varchar", {r: f"b{r}" for r in IDS}),
        ColumnSeen("title", "varchar"),
        ColumnSeen("sms_status", "varchar"),
    ]
    known = {
        "lead_source": ["Nowhere", "Campaign (CORRECTED)"],
        "campaign_name": ["Campaign (CORRECTED)"],
        "status": ["SMS Status"],
        "score": ["Score"],
        "code": ["Code"],
        "title": ["Role"],
    }
    found = guesses(fields, columns, known)
    assert {guess.column: guess.field for guess in found} == {
        "lead_source": "Campaign (CORRECTED)",
        "campaign_name": "Campaign (CORRECTED)",
        "status": "SMS Status",
        "title": None,
    }
    assert next(guess.others for guess in found if guess.column == "title") == ("Job Title",)


def test_types_that_do_not_fit_are_no_candidates() -> None:
    fields = [FieldSeen("Booked", "checkbox"), FieldSeen("Campaign", "singleLineText")]
    columns = [
        ColumnSeen("booked", "timestamptz"),
        ColumnSeen("campaign", "uuid", refers_to="public.campaigns"),
    ]
    assert by_column(fields, columns) == {}


def test_values_of_the_same_records_outweigh_names() -> None:
    names = [f"Campaign {n % 7}" for n in range(20)]
    routes = [f"Route {n % 3}" for n in range(20)]
    fields = [
        FieldSeen("Campaign (CORRECTED)", "singleSelect", dict(zip(IDS, names, strict=True))),
        FieldSeen("Lead Source", "singleSelect", dict(zip(IDS, routes, strict=True))),
    ]
    columns = [
        ColumnSeen("lead_source", "varchar", dict(zip(IDS, names, strict=True))),
        ColumnSeen("campaign_name", "varchar", dict(zip(IDS, names, strict=True))),
    ]
    found = guesses(fields, columns)
    assert [(g.column, g.field, g.sure) for g in found] == [
        ("lead_source", "Campaign (CORRECTED)", True),
        ("campaign_name", "Campaign (CORRECTED)", True),
    ]


def test_values_that_contradict_a_name_rule_it_out() -> None:
    fields = [FieldSeen("Code", "singleLineText", {r: f"a{r}" for r in IDS})]
    assert by_column(fields, [ColumnSeen("code", "varchar", {r: f"b{r}" for r in IDS})]) == {}


def test_a_value_that_every_row_has_proves_nothing() -> None:
    fields = [FieldSeen("Kind", "singleLineText", dict.fromkeys(IDS, "x"))]
    columns = [ColumnSeen("other", "varchar", dict.fromkeys(IDS, "x"))]
    assert by_column(fields, columns) == {}


def test_times_numbers_and_lists_are_compared_whatever_their_form() -> None:
    days = {record: f"2026-01-{n + 1:02d}" for n, record in enumerate(IDS)}
    numbers = {record: n for n, record in enumerate(IDS)}
    fields = [
        FieldSeen("When", "dateTime", {r: f"{day}T10:00:00.000Z" for r, day in days.items()}),
        FieldSeen("Much", "number", numbers),
        FieldSeen("Words", "multilineText", {r: f"a, b{n}" for r, n in numbers.items()}),
    ]
    columns = [
        ColumnSeen("x", "timestamptz", {r: f"{day}T10:00:00+00:00" for r, day in days.items()}),
        ColumnSeen("y", "int4", {r: float(n) for r, n in numbers.items()}),
        ColumnSeen("z", "_text", {r: ["a", f"b{n}"] for r, n in numbers.items()}),
    ]
    assert by_column(fields, columns) == {"x": "When", "y": "Much", "z": "Words"}


names = st.text("abc _-()", min_size=1, max_size=8)


@given(
    st.lists(names, max_size=6, unique=True),
    st.lists(names, max_size=6, unique=True),
)
def test_no_column_is_guessed_twice_and_every_guess_is_a_field(
    field_names: list[str], column_names: list[str]
) -> None:
    fields = [FieldSeen(name, "singleLineText") for name in field_names]
    found = guesses(fields, [ColumnSeen(name, "varchar") for name in column_names])
    assert len({guess.column for guess in found}) == len(found)
    taken = [guess.field for guess in found if guess.field]
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(field_names)


def test_the_engines_own_columns() -> None:
    assert own_columns([ColumnSeen("airtable_id", "text"), ColumnSeen("active", "bool")]) == {
        "record_id": "airtable_id",
        "client": None,
        "active": "active",
        "created_at": None,
        "updated_at": None,
    }
