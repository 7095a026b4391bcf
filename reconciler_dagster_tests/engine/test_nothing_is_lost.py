"""Edits that an early engine lost, or would have held up for ever. Found by reading and by the
model; each is the shortest history that shows it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import text

from reconciler_dagster import effects
from reconciler_dagster.airtable import transport
from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.engine import ahead, send
from reconciler_dagster.engine.ahead import Reading
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres.bucket import Bucket
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster.postgres.staging import StagingLost
from reconciler_dagster_tests.model.stage import Killed
from reconciler_dagster_tests.windows import states
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
    acme.update(record_id, hrq_status="Unheard of")
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


def test_a_lead_inserted_anew_keeps_what_airtable_cannot_say_just_now(acme: World) -> None:
    """A blank in its place would look like a portal edit, and clear Airtable once mended."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Phone": "+1 555 0100", "Claimed By": ANN})
    acme.sync()
    acme.sandbox.edit(record_id, {"Phone": "5" * 23, "Claimed By": "nobody@portal.example"})
    acme.sync()
    acme.sql("TRUNCATE leads CASCADE")
    acme.sync()
    assert acme.lead(record_id)["phone"] == "+1 555 0100"
    assert acme.lead(record_id)["claimed_by"] == acme.user(ANN)
    acme.sandbox.edit(record_id, {"Phone": "+1 555 0100", "Claimed By": ANN})
    assert acme.sync().counts.conflicts == 0
    assert acme.cell(record_id, "Claimed By") == ANN
    acme.assert_converged()


def test_a_lead_inserted_anew_keeps_the_columns_of_stopped_fields(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Claimed By": ANN, "SMS Stop": True})
    acme.sync()
    acme.sandbox.delete_field("Claimed By")
    acme.sandbox.delete_field("SMS Stop")
    acme.sandbox.edit(record_id, {"Company": "So that the fields are looked at"})
    acme.sync()
    acme.sql("TRUNCATE leads CASCADE")
    acme.sync()
    assert acme.lead(record_id)["claimed_by"] == acme.user(ANN)
    assert acme.lead(record_id)["sms_stop"] is True


def test_a_lead_inserted_anew_is_agreed_on_only_where_it_holds_what_was_agreed(
    acme: World,
) -> None:
    """Here the portal has lost the user too, or a trigger drops the text: no edit of a person."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Claimed By": ANN, "SMS Stop Reason": "Asked twice"})
    acme.sync()
    acme.sql("TRUNCATE leads CASCADE")
    acme.sql("DELETE FROM users WHERE email = :ann", ann=ANN)
    acme.sql(
        "CREATE FUNCTION drop_reason() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.sms_stop_reason := NULL; RETURN NEW; END$$"
    )
    acme.sql(
        "CREATE TRIGGER dropping BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION drop_reason()"
    )
    acme.sync()
    agreed = acme.sides()[2][record_id]
    assert {"claimed_by", "sms_stop_reason", "company"} & agreed.keys() == {"company"}
    acme.sync(EVERYTHING)
    assert acme.cell(record_id, "Claimed By") == ANN
    assert acme.cell(record_id, "SMS Stop Reason") == "Asked twice"
    acme.sql("DROP TRIGGER dropping ON leads")
    acme.sql("INSERT INTO users (email) VALUES (:ann)", ann=ANN)
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    acme.sync()
    acme.assert_converged()


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
    try:
        with acme.underway():
            acme.sandbox.retype_field("Company", "checkbox", {"icon": "check", "color": "red"})
    except RuntimeError:
        pass
    acme.sync()
    assert acme.lead(record_id)["company"] == company
    assert acme.cell(record_id, "HRQ Status") == "Archive"


def test_a_portal_edit_while_the_run_was_on_its_way_is_not_written_over(acme: World) -> None:
    """Both edited the field: then the portal's value belongs in the log."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
    with acme.underway():
        acme.update(record_id, hrq_status="Archive")
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


def test_a_write_that_met_a_lock_out_is_not_sent_over_what_a_person_wrote_meanwhile(
    acme: World,
) -> None:
    """Half a minute is long enough for somebody to edit the very cell."""
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")

    def edit(moment: str, name: str) -> None:
        if moment == "after" and name == "PATCH to Airtable":
            effects.hook = None
            acme.sandbox.edit(record_id, {"HRQ Status": "Review"})

    acme.sandbox.fault("status", status=429, method="PATCH")
    effects.hook = edit
    ran = acme.sync()
    assert ran.counts.conflicts == 1
    assert acme.cell(record_id, "HRQ Status") == acme.lead(record_id)["hrq_status"] == "Review"
    assert acme.value("SELECT losing_value FROM reconciler.conflict") == "Archive"


def test_a_write_that_waited_for_somebody_elses_lock_out_is_read_again_first(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "WRITE_WAITS_SECONDS", 0.5)
    (first,) = ids(acme, 1)
    acme.update(first, hrq_status="Archive")

    def lock_out(moment: str, name: str) -> None:
        # The journal says "sent" and the call is next: another process meets a 429.
        if moment == "after" and name == "commit" and sent_entries(acme):
            effects.hook = None
            bucket = Bucket(
                acme.engine, acme.client.base_id, purpose="x", urgent=True, calls_per_second=1000
            )
            bucket.lock_out(1.0, "of somebody else")
            acme.sandbox.edit(first, {"HRQ Status": "Review"})

    effects.hook = lock_out
    assert acme.sync().counts.conflicts == 1
    assert acme.cell(first, "HRQ Status") == acme.lead(first)["hrq_status"] == "Review"


def sent_entries(acme: World) -> int:
    hook, effects.hook = effects.hook, None
    count = acme.value("SELECT count(*) FROM reconciler.journal WHERE state = 'sent'")
    effects.hook = hook
    return int(count)


def test_what_was_read_long_ago_is_read_again_before_more_is_sent(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "FRESH_SECONDS", -1.0)
    late = ids(acme, 25)
    for record_id in late:
        acme.update(record_id, hrq_status="Archive")

    def edit(moment: str, name: str) -> None:
        if moment == "after" and name == "PATCH to Airtable":
            effects.hook = None
            acme.sandbox.edit(late[-1], {"HRQ Status": "Review"})

    effects.hook = edit
    ran = acme.sync()
    assert ran.counts.conflicts == 1
    assert {acme.cell(r, "HRQ Status") for r in late[:-1]} == {"Archive"}
    assert acme.cell(late[-1], "HRQ Status") == "Review"
    acme.assert_converged()


def test_what_was_read_before_a_long_wait_for_a_lead_is_read_again(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch too: whoever edited the record meanwhile is not written over."""
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")
    read = ahead.read_now
    readings = []

    def read_long_ago(session: Session, record_ids: list[str]) -> Reading:
        reading = read(session, record_ids)
        readings.append(reading)
        if len(readings) > 1:
            return reading
        acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
        return replace(reading, at=reading.at - 2 * send.FRESH_SECONDS)

    monkeypatch.setattr(ahead, "read_now", read_long_ago)
    assert acme.sync().counts.conflicts == 1
    assert len(readings) == 2
    assert acme.cell(record_id, "HRQ Status") == acme.lead(record_id)["hrq_status"] == "Review"
    acme.assert_converged()


def test_a_write_whose_lead_is_always_waited_for_goes_in_the_end(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "FRESH_SECONDS", -1.0)
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == "Archive"


def test_a_record_deleted_while_the_run_was_on_its_way_stays_under_suspicion(acme: World) -> None:
    """It was listed, so the end of the run must not take it for one that came back."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Company": "Listed"})
    acme.update(record_id, hrq_status="Archive")
    with acme.underway():
        acme.sandbox.delete(record_id)
    assert states(acme) == {record_id: "missing"}


@pytest.mark.parametrize("more", ["", "\nfrom the portal too"])
def test_a_merged_note_that_was_not_sent_is_still_known_as_one(acme: World, more: str) -> None:
    """Somebody typed above the notes, so that the merged text no longer begins like the old one."""
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Notes": "agreed"})
    acme.sync()
    acme.sandbox.edit(record_id, {"Notes": "on top\nagreed"})
    acme.update(record_id, notes="agreed\nappended")

    def kill(moment: str, name: str) -> None:
        if moment == "before" and name == "PATCH to Airtable":
            raise Killed

    effects.hook = kill
    with suppress(Killed):
        acme.sync()
    effects.hook = None
    merged = "on top\nagreed\nappended"
    assert acme.lead(record_id)["notes"] == merged
    acme.update(record_id, notes=merged + more)
    acme.sync()
    assert acme.cell(record_id, "Notes") == acme.lead(record_id)["notes"] == merged + more
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 0
    acme.assert_quiet()


TRIGGER = """
CREATE FUNCTION public.portal_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {rule} END $$;
CREATE TRIGGER portal_rule BEFORE INSERT OR UPDATE ON public.leads
FOR EACH ROW EXECUTE FUNCTION public.portal_rule();
"""


def test_a_write_that_the_portals_database_drops_is_not_taken_back_in_airtable(
    acme: World,
) -> None:
    first, second = ids(acme, 2)
    before = acme.lead(first)["hrq_status"]
    acme.sql(
        TRIGGER.format(
            rule=f"IF OLD.airtable_record_id = '{first}' THEN RETURN NULL; END IF; RETURN NEW;"
        )
    )
    for record_id in (first, second):
        acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
    for _ in range(2):
        acme.sync(EVERYTHING)
    assert acme.cell(first, "HRQ Status") == "Review"
    assert (acme.lead(first)["hrq_status"], acme.lead(second)["hrq_status"]) == (before, "Review")
    ((field, reason),) = acme.sql("SELECT field, reason FROM reconciler.quarantine")
    assert (field, "keeps the lead as it was" in reason) == ("hrq_status", True)
    acme.sql("DROP TRIGGER portal_rule ON leads")
    acme.sync(EVERYTHING)
    acme.assert_converged()


def test_a_value_that_the_portals_database_changes_is_no_conflict_run_after_run(
    acme: World,
) -> None:
    (record_id,) = ids(acme, 1)
    acme.sql(TRIGGER.format(rule="NEW.email := lower(NEW.email); RETURN NEW;"))
    acme.sandbox.edit(record_id, {"Email": "Ann@Example.com", "Company": "Her own"})
    added = acme.sandbox.add({"Email": "Bob@Example.com", "Company": "His own"})
    for _ in range(3):
        acme.sync(EVERYTHING)
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 0
    assert acme.lead(added)["company"] == "His own"
    assert acme.lead(record_id)["company"] == "Her own"
    held = acme.sql("SELECT record_id, field FROM reconciler.quarantine")
    assert set(map(tuple, held)) == {(record_id, "email"), (added, "email")}


def test_a_trigger_may_raise_under_any_code(acme: World) -> None:
    first, second = ids(acme, 2)
    rule = "RAISE 'not this one' USING ERRCODE = '45000';"
    rule = f"IF NEW.airtable_record_id = '{first}' THEN {rule} END IF; RETURN NEW;"
    acme.sql(TRIGGER.format(rule=rule))
    for record_id in (first, second):
        acme.sandbox.edit(record_id, {"Company": "New"})
    acme.sync()
    assert acme.lead(second)["company"] == "New"
    assert acme.sql("SELECT record_id, field FROM reconciler.quarantine") == [(first, "company")]


def test_a_cell_that_comes_due_between_two_steps_stays_in_quarantine(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="No such option")
    acme.sync()
    acme.update(record_id, enrolled_message_count=3)
    session = acme.session()
    with client_lock(acme.engine, acme.client.id, session.run_id, 5):
        pull_airtable(session, CHANGED)
        pull_postgres(session)
        diff(session)
        acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = clock_timestamp()")
        push(session)
    assert acme.sql("SELECT field FROM reconciler.quarantine") == [("hrq_status",)]


def test_a_token_that_lost_its_right_to_write_costs_few_calls(acme: World) -> None:
    for record_id in ids(acme, 40):
        acme.update(record_id, hrq_status="Archive", sms_stop_reason="asked for it")
    acme.sandbox.fault("status", status=403, method="PATCH", times=None)
    acme.sandbox.reset_calls()
    ran = acme.sync()
    assert ran.counts.quarantined == 40
    assert len(acme.sandbox.calls()) < 40
    acme.sandbox.clear_faults()
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    acme.sync()
    acme.assert_converged()


def test_staging_that_postgres_lost_ends_the_run_and_nothing_is_skipped(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Company": "Not to be missed"})
    session = acme.session()
    with client_lock(acme.engine, acme.client.id, session.run_id, 5):
        pull_airtable(session, CHANGED)
        acme.sql("TRUNCATE reconciler.staged_record")
        pull_postgres(session)
        with pytest.raises(StagingLost, match="restarted"):
            diff(session)
    acme.sync()
    assert acme.lead(record_id)["company"] == "Not to be missed"
