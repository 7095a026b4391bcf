"""Edits that an early engine lost, or would have held up for ever. Found by reading and by the
model; each is the shortest history that shows it.
"""

from __future__ import annotations

import pytest
from sqlalchemy import text

from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests.world import ANN, World

HOUR, WEEK = 3600, 7 * 24 * 3600


def ids(acme: World, count: int) -> list[str]:
    return sorted(acme.sandbox.records())[:count]


def test_an_old_edit_of_a_lead_that_was_locked_is_read_again(acme: World) -> None:
    """The cursor moves on past it, so the lead itself has to bring it back."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Company": "Edited before the outage"})
    acme.sandbox.advance(WEEK)
    with acme.engine.connect() as portal, portal.begin():
        portal.execute(
            text("SELECT FROM leads WHERE airtable_record_id = :id FOR UPDATE"), {"id": record_id}
        )
        acme.sync()
    acme.sync()
    assert acme.lead(record_id)["company"] == "Edited before the outage"
    acme.assert_converged()


def test_a_refused_cell_stays_in_quarantine_when_another_column_is_edited(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Phone": "x" * 21})
    acme.sync()
    acme.sandbox.advance(2 * HOUR)
    acme.sync()
    acme.update(record_id, enrolled_message_count=3)
    acme.sync()
    assert acme.sql("SELECT field FROM reconciler.quarantine") == [("phone",)]


def test_a_record_that_is_gone_stays_in_quarantine_when_its_lead_is_edited(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    acme.update(record_id, hrq_status="Archive")
    acme.sync()
    acme.update(record_id, hrq_status=acme.sides()[2][record_id]["hrq_status"])
    acme.update(record_id, enrolled_message_count=3)
    acme.sync()
    assert acme.sql("SELECT field FROM reconciler.quarantine") == [("(lead)",)]


def test_a_refusal_of_airtable_backs_off(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Completed")
    acme.sync()
    for attempts in (2, 3):
        acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
        acme.sync()
        assert acme.value("SELECT attempts FROM reconciler.quarantine") == attempts


def test_new_records_come_in_while_a_field_with_a_default_is_stopped(acme: World) -> None:
    acme.sandbox.delete_field("First Name")
    record_id = acme.sandbox.add({"Company": "Newcomer"})
    acme.sync()
    assert acme.lead(record_id)["company"] == "Newcomer"
    assert acme.lead(record_id)["first_name"] == "Unknown"


def test_a_lead_that_comes_back_keeps_the_columns_of_stopped_fields(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, sms_stop=True)
    acme.sync()
    acme.sandbox.delete_field("SMS Stop")
    acme.sandbox.edit(record_id, {"Company": "So that the fields are looked at"})
    acme.sync()
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    acme.sync()
    assert acme.lead(record_id)["sms_stop"] is True


def test_nothing_is_agreed_on_that_postgres_refused(acme: World) -> None:
    """A merged note that the portal cannot hold must not be sent as if it did."""
    (record_id,) = ids(acme, 1)
    base = acme.lead(record_id)["notes"] or ""
    acme.sql(
        f"ALTER TABLE leads ADD CONSTRAINT short CHECK (length(notes) < {len(base) + 20}) NOT VALID"
    )
    acme.update(record_id, notes=f"{base}\nfrom the portal")
    acme.sandbox.edit(record_id, {"Notes": f"{base}\nfrom Airtable"})
    acme.sync()
    acme.sandbox.edit(record_id, {"Company": "Looked at once more"})
    acme.update(record_id, enrolled_message_count=3)
    acme.sync()
    assert "from Airtable" in acme.cell(record_id, "Notes")
    acme.sql("ALTER TABLE leads DROP CONSTRAINT short")
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    acme.sync()
    for note in (acme.cell(record_id, "Notes"), acme.lead(record_id)["notes"]):
        assert "from the portal" in note
        assert "from Airtable" in note


def test_a_claim_follows_a_user_whose_email_changes(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, claimed_by=acme.user(ANN))
    acme.sync()
    acme.sql("UPDATE users SET email = 'ann.new@portal.example' WHERE email = :ann", ann=ANN)
    acme.sync(EVERYTHING)
    assert acme.cell(record_id, "Claimed By") == "ann.new@portal.example"
    acme.assert_converged()


def test_a_portal_trigger_that_refuses_one_lead_holds_up_no_other(acme: World) -> None:
    bad, good = ids(acme, 2)
    acme.sql(
        "CREATE FUNCTION no_acme() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.company = 'Forbidden' THEN RAISE EXCEPTION 'not this one'; END IF; "
        "RETURN NEW; END $$"
    )
    acme.sql(
        "CREATE TRIGGER no_acme BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION no_acme()"
    )
    acme.sandbox.edit(bad, {"Company": "Forbidden"})
    acme.sandbox.edit(good, {"Company": "Allowed"})
    assert acme.sync().counts.quarantined == 1
    assert acme.lead(good)["company"] == "Allowed"
    assert "not this one" in acme.value("SELECT reason FROM reconciler.quarantine")


def test_airtables_clock_runs_backward_during_an_outage(acme: World) -> None:
    """Edits after the jump bear times from long before the cursor."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.advance(-5 * HOUR)
    acme.sandbox.edit(record_id, {"Company": "Edited after the jump"})
    acme.sandbox.advance(2 * HOUR)
    acme.sql("UPDATE reconciler.cursor SET moved_at = moved_at - interval '2 hours'")
    acme.sync()
    acme.sync()
    assert acme.lead(record_id)["company"] == "Edited after the jump"


def test_a_dry_run_meets_a_new_field_as_the_run_will(acme: World) -> None:
    """A field that was replaced by an empty one of the same name is not an emptied field."""
    record_id = next(r for r in ids(acme, 40) if acme.cell(r, "Job Title"))
    acme.sandbox.delete_field("Job Title")
    acme.sandbox.create_field("Job Title", "singleLineText")
    acme.sandbox.edit(record_id, {"Company": "Looked at"})
    session = acme.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    assert "title" not in diff(session).to_postgres
    title = acme.lead(record_id)["title"]
    acme.sync()
    assert acme.lead(record_id)["title"] == title


def test_a_field_retyped_between_pull_and_push_never_reads_as_cleared(acme: World) -> None:
    record_id = next(r for r in ids(acme, 40) if acme.cell(r, "Company"))
    company = acme.lead(record_id)["company"]
    acme.update(record_id, hrq_status="Archive")
    session = acme.session()
    try:
        with client_lock(acme.engine, acme.client.id, session.run_id, 0):
            pull_airtable(session, CHANGED)
            pull_postgres(session)
            diff(session)
            acme.sandbox.retype_field("Company", "checkbox", {"icon": "check", "color": "red"})
            push(session)
    except RuntimeError:
        pass
    acme.sync()
    assert acme.lead(record_id)["company"] == company
    assert acme.cell(record_id, "HRQ Status") == "Archive"


def test_a_value_that_airtable_keeps_in_another_form_is_not_agreed_on(acme: World) -> None:
    """The portal's form is kept in the log, and the next run takes Airtable's."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.retype_field("Claimed At", "date", {"dateFormat": {"name": "iso"}})
    acme.sync()
    acme.update(record_id, claimed_at="2026-03-01T10:00:00Z")
    acme.sync()
    assert "2026-03-01T10:00:00.000Z" not in str(acme.sides()[2][record_id].get("claimed_at"))
    acme.sync()
    assert acme.lead(record_id)["claimed_at"].startswith("2026-03-01T00:00:00")
    losers = acme.sql("SELECT losing_value FROM reconciler.conflict WHERE field = 'claimed_at'")
    assert ("2026-03-01T10:00:00.000Z",) in [tuple(row) for row in losers]
    acme.assert_converged()


def test_a_portal_edit_while_the_run_was_on_its_way_is_not_written_over(acme: World) -> None:
    """Both edited the field: then the portal's value belongs in the log."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
    session = acme.session()
    with client_lock(acme.engine, acme.client.id, session.run_id, 0):
        pull_airtable(session, CHANGED)
        pull_postgres(session)
        diff(session)
        acme.update(record_id, hrq_status="Archive")
        push(session)
    acme.sync()
    assert acme.lead(record_id)["hrq_status"] == "Review"
    assert acme.sql("SELECT losing_value FROM reconciler.conflict") == [("Archive",)]
    acme.assert_converged()


def lose_every_connection(acme: World) -> None:
    with client_lock(acme.engine, acme.client.id, "first", 0):
        acme.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
            "current_database() AND pid <> pg_backend_pid()"
        )
        raise ValueError("the reason")


def test_a_lock_whose_connection_is_gone_does_not_hide_why_the_run_ended(acme: World) -> None:
    with pytest.raises(ValueError, match="the reason"):
        lose_every_connection(acme)
    with client_lock(acme.engine, acme.client.id, "second", 0):
        pass


def test_a_lead_edited_again_after_its_record_was_deleted_holds_up_no_other(acme: World) -> None:
    gone, other = ids(acme, 2)
    acme.sandbox.delete(gone)
    acme.update(gone, sms_stop_reason="first")
    assert acme.sync().counts.quarantined == 1
    acme.update(gone, sms_stop_reason="second")
    acme.update(other, sms_stop_reason="of another")
    assert acme.sync().counts.quarantined == 1
    assert acme.cell(other, "SMS Stop Reason") == "of another"
    acme.sandbox.restore(gone)
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    assert acme.sync().counts.quarantined == 0
    assert acme.cell(gone, "SMS Stop Reason") == "second"
