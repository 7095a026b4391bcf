"""Types that one side cannot carry, and keys as people paste them: nothing changes unseen."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster_tests.engine.test_forms import conflicts, one
from reconciler_dagster_tests.world import ANN, World


def test_a_field_without_a_time_takes_no_time_from_a_claim(acme: World) -> None:
    record_id = one(acme)
    acme.update(record_id, claimed_by=acme.user(ANN), claimed_at="2026-03-01T10:00:00Z")
    acme.sync()
    acme.sandbox.retype_field("Claimed At", "date", {"dateFormat": {"name": "iso"}})
    acme.update(record_id, claimed_at="2026-03-02T11:00:00Z")
    acme.sync()
    acme.sync(EVERYTHING)
    assert acme.lead(record_id)["claimed_at"].startswith("2026-03-02T11:00:00")
    assert conflicts(acme) == 0
    (problem,) = acme.sync().pulled.stopped
    assert problem.startswith("'Claimed At' is stopped: it holds days")
    assert acme.cell(record_id, "Claimed By") == ANN


def test_a_formula_that_gives_fractions_is_held_and_never_rounded_unasked(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.edit(record_id, {"Click Count": 3})
    acme.sync()
    acme.sandbox.edit(record_id, {"Click Count": 0.4})
    acme.sync()
    assert acme.lead(record_id)["click_count"] == 3
    assert "is 0.4" in acme.value("SELECT reason FROM reconciler.quarantine")


@pytest.mark.parametrize(
    ("type_", "options", "why"),
    [
        ("percent", {"precision": 0}, "parts of 1"),
        ("number", {"precision": 2}, "has 2 decimals"),
        ("currency", {"precision": 2, "symbol": "$"}, "has 2 decimals"),
    ],
)
def test_a_number_that_the_column_would_cut_stops_the_field(
    acme: World, type_: str, options: dict[str, Any], why: str
) -> None:
    record_id = one(acme)
    clicks = acme.lead(record_id)["click_count"]
    acme.sandbox.retype_field("Click Count", type_, options)
    acme.sandbox.edit(record_id, {"Click Count": 0.87})
    acme.sync()
    ran = acme.sync()
    (problem,) = ran.pulled.stopped
    assert why in problem
    assert acme.lead(record_id)["click_count"] == clicks


def test_a_padded_column_is_no_trigger_of_the_portal(acme: World) -> None:
    record_id = one(acme)
    acme.sql("ALTER TABLE leads ALTER sms_stop_reason TYPE char(40)")
    acme.sandbox.edit(record_id, {"SMS Stop Reason": "asked"})
    acme.sync(EVERYTHING)
    assert acme.lead(record_id)["sms_stop_reason"] == "asked".ljust(40)
    assert acme.sql("SELECT FROM reconciler.quarantine") == []
    acme.update(record_id, sms_stop_reason="asked twice")
    acme.sync()
    assert acme.cell(record_id, "SMS Stop Reason") == "asked twice"
    acme.assert_quiet()


def test_a_users_email_is_met_however_it_was_typed(acme: World) -> None:
    first, second = sorted(acme.sandbox.records())[:2]
    acme.sql(
        "UPDATE users SET email = :new WHERE email = :old", new=f" {ANN.title()}\u00a0", old=ANN
    )
    acme.sandbox.edit(first, {"Claimed By": f"\u200b{ANN} "})
    acme.sync()
    ann = str(acme.value("SELECT id FROM users WHERE email ILIKE '%ann%'"))
    assert acme.lead(first)["claimed_by"] == ann
    acme.update(second, claimed_by=ann)
    acme.sync()
    assert acme.cell(second, "Claimed By") == ANN
    acme.assert_quiet()


def test_an_email_of_two_users_is_refused_and_not_picked(acme: World) -> None:
    record_id = one(acme)
    acme.sql("INSERT INTO users (email) VALUES (:email)", email=ANN.upper())
    acme.sandbox.edit(record_id, {"Claimed By": ANN})
    acme.sync()
    assert acme.lead(record_id)["claimed_by"] is None
    assert "2 portal users have" in acme.value("SELECT reason FROM reconciler.quarantine")


def test_blanks_around_ids_are_nobodys(acme: World) -> None:
    record_id = one(acme)
    leads = acme.value("SELECT count(*) FROM leads")
    acme.sql("UPDATE clients SET airtable_base_id = ' ' || airtable_base_id || :b", b="\u00a0")
    acme.sql(
        "UPDATE leads SET airtable_record_id = airtable_record_id || :b, sms_stop_reason = 'asked' "
        "WHERE airtable_record_id = :id",
        b="\u00a0 ",
        id=record_id,
    )
    acme.sync()
    assert acme.cell(record_id, "SMS Stop Reason") == "asked"
    acme.sync(EVERYTHING)
    assert acme.value("SELECT count(*) FROM leads") == leads
    assert acme.sql("SELECT FROM reconciler.quarantine") == []
    acme.assert_converged()


def test_a_blank_pasted_later_makes_no_second_lead(acme: World) -> None:
    acme.sync()
    record_id = one(acme)
    leads = acme.value("SELECT count(*) FROM leads")
    acme.sql(
        "UPDATE leads SET airtable_record_id = airtable_record_id || ' ' "
        "WHERE airtable_record_id = :id",
        id=record_id,
    )
    acme.sandbox.edit(record_id, {"Company": "Edited after it"})
    acme.sync()
    assert acme.value("SELECT count(*) FROM leads") == leads
    assert acme.lead(record_id)["company"] == "Edited after it"
    acme.assert_converged()


def test_a_record_id_that_cannot_be_corrected_stops_alone(acme: World) -> None:
    """Its column is the portal's own, and may not be changed for all we know."""
    acme.sync()
    pasted, other = sorted(acme.sandbox.records())[:2]
    paste = "UPDATE leads SET airtable_record_id = airtable_record_id || ' ' WHERE "
    acme.sql(f"{paste} airtable_record_id = :id", id=pasted)
    acme.sql(
        "CREATE FUNCTION keep_id() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "IF NEW.airtable_record_id <> OLD.airtable_record_id THEN RAISE 'it is for ever'; END IF; "
        "RETURN NEW; END$$"
    )
    acme.sql(
        "CREATE TRIGGER keep_id BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION keep_id()"
    )
    leads = acme.value("SELECT count(*) FROM leads")
    for company in ("Edited", "Edited again"):
        acme.sandbox.edit(other, {"Company": company})
        acme.sandbox.edit(pasted, {"Company": company})
        acme.sync()
        assert acme.lead(other)["company"] == company
    assert acme.value("SELECT count(*) FROM leads") == leads
    ((reason,),) = acme.sql("SELECT reason FROM reconciler.quarantine")
    assert "has blanks in it, and Postgres refuses to correct it" in reason
    acme.sql("DROP TRIGGER keep_id ON leads")
    acme.sync()
    assert acme.lead(pasted)["company"] == "Edited again"
    assert acme.sql("SELECT FROM reconciler.quarantine") == []
    acme.assert_converged()


def test_two_leads_of_one_record_id_are_told(acme: World) -> None:
    acme.sync()
    record_id = one(acme)
    acme.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
        "SELECT client_id, airtable_record_id || ' ', 'Twin', '', '' FROM leads "
        "WHERE airtable_record_id = :id",
        id=record_id,
    )
    acme.sync()
    ((reason,),) = acme.sql("SELECT reason FROM reconciler.quarantine")
    assert "the clean id is another lead's" in reason
    acme.sql("DELETE FROM leads WHERE first_name = 'Twin'")
    acme.sync()
    assert acme.sql("SELECT FROM reconciler.quarantine") == []


def test_a_field_and_a_table_are_found_by_a_name_with_blanks(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.rename_field("Company", " company\u00a0")
    acme.sql("DELETE FROM reconciler.field_binding WHERE field = 'company'")
    acme.settings.airtable_leads_table = "leads "
    acme.sandbox.edit(record_id, {" company\u00a0": "Met"})
    assert acme.sync().pulled.stopped == []
    assert acme.lead(record_id)["company"] == "Met"


def test_a_manual_sync_looks_for_an_optional_field_that_a_base_did_not_have(acme: World) -> None:
    as_shown = {
        "dateFormat": {"name": "iso"},
        "timeFormat": {"name": "24hour"},
        "timeZone": "utc",
    }
    acme.sandbox.delete_field("First Clicked At")
    acme.sql("DELETE FROM reconciler.field_binding")
    acme.sync()
    record_id = one(acme)
    acme.sandbox.create_field("First Clicked At", "dateTime", as_shown)
    acme.sandbox.edit(record_id, {"First Clicked At": "2026-03-01T10:00:00.000Z"})
    quiet = acme.sync()
    assert quiet.counts.airtable_calls == 1  # a base without it is a base like any other
    assert acme.lead(record_id)["first_clicked_at"] is None
    acme.sql("UPDATE reconciler.table_binding SET read_at = read_at - interval '2 minutes'")
    by_hand = acme.session()
    by_hand.purpose = "manual"
    assert "first_clicked_at" in by_hand.fields.columns
    acme.sync(EVERYTHING)
    assert acme.lead(record_id)["first_clicked_at"].startswith("2026-03-01T10:00:00")
