"""Texts that would be code if they were put where code is read."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import ProgrammingError

from reconciler_dagster.airtable.filters import by_ids
from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.fields import FieldMap, MappedField
from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres.apply import apply_writes
from reconciler_dagster.postgres.connection import writing
from reconciler_dagster.postgres.leads import stage_leads
from reconciler_dagster.postgres.writes import LeadWrite
from reconciler_dagster_tests.world import World

NASTY = [
    "'), TRUE(), ('",
    '"), TRUE(), ("',
    "{Email}', RECORD_ID()) & ('",
    "\\' ) OR 1=1",
    "'; DROP TABLE leads; --",
    '"; DROP TABLE leads; --',
    '=HYPERLINK("http://evil.example")',
    "%(rows)s :rows $1 {0} ${jndi:x}",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("text", NASTY)
def test_a_value_is_carried_over_as_it_is(acme: World, text: str) -> None:
    there, here = sorted(acme.sandbox.records())[:2]
    acme.sandbox.edit(there, {"Company": text, "Notes": text})
    acme.update(here, sms_stop_reason=text, notes=text)
    acme.sync()
    acme.sync(EVERYTHING)
    assert (acme.lead(there)["company"], acme.lead(there)["notes"]) == (text, text)
    assert (acme.cell(here, "SMS Stop Reason"), acme.cell(here, "Notes")) == (text, text)
    acme.assert_converged()


@pytest.mark.parametrize("text", NASTY)
def test_a_record_id_that_is_no_record_id_reaches_no_formula(acme: World, text: str) -> None:
    acme.sandbox.reset_calls()
    acme.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
        "SELECT id, :text, 'Made', '', '' FROM clients",
        text=text,
    )
    ran = acme.sync()
    assert (ran.pulled.gone, ran.counts.airtable_calls) == ([], 1)
    assert acme.value("SELECT count(*) FROM leads WHERE first_name = 'Made'") == 1


def test_ids_are_quoted_in_a_formula_all_the_same() -> None:
    assert str(by_ids(["rec'"])) == r"FIND(RECORD_ID(), 'rec\'') > 0"


@pytest.mark.parametrize("text", NASTY)
def test_names_of_fields_and_options_are_only_names(acme: World, text: str) -> None:
    record_id = min(acme.sandbox.records())
    acme.sandbox.rename_field("Company", text)
    acme.sandbox.add_option("HRQ Status", text[:50])
    acme.sandbox.edit(record_id, {text: "Followed", "HRQ Status": text[:50]})
    acme.sync()
    assert acme.lead(record_id)["company"] == "Followed"
    assert acme.lead(record_id)["hrq_status"] == text[:50]
    acme.assert_quiet()


@pytest.mark.parametrize("column", ['company"; DROP TABLE leads; --', "company, (SELECT 1)", ":x"])
def test_a_column_name_of_the_field_map_is_a_name(acme: World, column: str) -> None:
    (lead_id, record_id, version) = acme.sql(
        "SELECT id::text, airtable_record_id, xmin::text FROM leads LIMIT 1"
    )[0]
    nasty = FieldMap([MappedField("Company", column, ("singleLineText",), Text())])
    with pytest.raises(ProgrammingError, match="does not exist"):
        stage_leads(acme.engine, "run", acme.pair, [column], [record_id])
    write = LeadWrite(record_id, lead_id, version, {column: "x"})
    with (
        acme.engine.connect() as connection,
        pytest.raises(ProgrammingError, match="does not exist"),
        writing(connection),
    ):
        apply_writes(connection, acme.pair, [write], nasty, Directory())
    assert acme.value("SELECT count(*) FROM leads") == 40
