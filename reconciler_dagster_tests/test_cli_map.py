"""`reconciler map`: a draft from two real sides, and files that are checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler_dagster.cli import main
from reconciler_dagster.syncs.reading import SHIPPED, parse_definition
from reconciler_dagster.syncs.schema import FILE, json_schema
from reconciler_dagster_tests.mapping import LEADS
from reconciler_dagster_tests.world import World, world


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(portal_db, leads=120) as here:
        monkeypatch.setenv("DATABASE_URL", portal_db)
        monkeypatch.setenv("AIRTABLE_API_KEY", here.sandbox.token)
        monkeypatch.setenv("AIRTABLE_ENDPOINT_URL", here.sandbox.url)
        yield here


def suggested(acme: World) -> tuple[dict[str, str], dict[str, object]]:
    """Column to field, and the whole answer."""
    command = ["map", "suggest", "--base", acme.client.base_id, "--airtable-table", "Leads"]
    ran = CliRunner().invoke(main, [*command, "--postgres-table", "public.leads", "--json"])
    assert ran.exit_code == 0, ran.output
    answer = json.loads(ran.stdout)
    definition = parse_definition(answer["definition"], "leads.yaml")
    return {column: field.source[0] for column, field in definition.fields.items()}, answer


def test_a_portal_that_holds_the_leads_is_bound_by_its_values(acme: World) -> None:
    acme.sync()
    bound, answer = suggested(acme)
    expected = {field.column: field.airtable for field in LEADS}
    right = {column for column, field in bound.items() if expected.get(column) == field}
    assert len(right) >= 0.9 * len(expected)
    assert {column for column in bound if column in expected} == right, "a field is bound wrongly"
    assert "airtable_record_id" in str(answer["definition"])


def test_an_empty_portal_is_bound_by_names(acme: World) -> None:
    bound, answer = suggested(acme)
    expected = {field.column: field.airtable for field in LEADS}
    assert expected["lead_source"] == "Campaign (CORRECTED)", "not Lead Source, as it is called"
    right = {column for column, field in bound.items() if expected.get(column) == field}
    assert len(right) >= 0.9 * len(expected)
    assert {column for column in bound if column in expected} == right
    assert bound["lead_source"] == "Campaign (CORRECTED)"
    assert "status" in answer["unsure"]


def test_a_base_without_the_shipped_fields_leaves_the_column_to_a_person(acme: World) -> None:
    """Lead Source is another thing, which the likeness of its name does not say."""
    acme.sandbox.rename_field("Campaign (CORRECTED)", "Kampagne")
    bound, answer = suggested(acme)
    assert "lead_source" not in bound
    assert "  # lead_source: is it 'Lead Source'?\n" in str(answer["definition"])


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--postgres-table", "public.nowhere", "There is no table public.nowhere"),
        ("--airtable-table", "Nothing", "has no table 'Nothing'"),
        ("--base", "appNowhere0000000", "cannot be read with this token"),
    ],
)
def test_what_is_not_there_is_named(acme: World, option: str, value: str, told: str) -> None:
    given = {
        "--base": acme.client.base_id,
        "--airtable-table": "Leads",
        "--postgres-table": "public.leads",
        option: value,
    }
    words = [word for pair in given.items() for word in pair]
    ran = CliRunner().invoke(main, ["map", "suggest", *words])
    assert ran.exit_code == 2
    assert told in ran.stderr


def test_files_are_checked(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["map", "check", str(SHIPPED), "--json"])
    assert ran.exit_code == 0
    assert set(json.loads(ran.stdout)["syncs"]) >= {"leads", "campaigns"}
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("sync: x\n")
    ran = CliRunner().invoke(main, ["map", "check", str(wrong)])
    assert ran.exit_code == 2
    assert "wrong.yaml, line 1: airtable is missing" in ran.stderr
    assert CliRunner().invoke(main, ["map", "check"]).exit_code == 2


def test_the_schema_in_the_package_is_the_model_s() -> None:
    assert FILE.read_text() == json_schema(), "run `reconciler map schema` into that file"
    assert CliRunner().invoke(main, ["map", "schema"]).stdout == json_schema()


def test_what_is_in_force_is_shown_and_an_override_is_one_client_s(
    acme: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    override = (
        f"clients:\n  {acme.client.base_id}:\n"
        "    phone: {from: Telephone}\n    webinar_datetime: null\n"
    )
    (tmp_path / "leads.yaml").write_text((SHIPPED / "leads.yaml").read_text() + override)
    monkeypatch.setenv("RECONCILER_SYNCS_FOLDER", str(tmp_path))
    monkeypatch.setenv("RECONCILER_SYNCS", "leads")
    other = acme.value(
        "INSERT INTO clients (company_name, airtable_base_id) "
        "VALUES ('Other', 'appOTHER000000000') RETURNING id::text"
    )

    def fields(*more: str) -> dict[str, tuple[str, str]]:
        ran = CliRunner().invoke(main, ["map", "show", "--json", *more])
        assert ran.exit_code == 0, ran.output
        (leads,) = [one for one in json.loads(ran.stdout)["syncs"] if one["sync"] == "leads"]
        return {f["column"]: (f["sources"][0], f["why"]) for f in leads["fields"]}

    mine, theirs = fields("--client", acme.client.id), fields("--client", other)
    assert mine["phone"] == ("Telephone", "this base")
    assert "webinar_datetime" not in mine
    assert theirs == fields()
    assert theirs["phone"] == ("Phone", "the definition")
    said = CliRunner().invoke(main, ["map", "show", "--client", acme.client.id]).stdout
    assert "  phone from Telephone: text, " in said
    assert "  webinar_datetime: this base has no such field" in said
