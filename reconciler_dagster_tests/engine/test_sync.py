"""The engine over real Postgres and the sandbox: what each kind of run does, and does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from reconciler_dagster.airtable.errors import MonthlyLimitReached
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.scope import CHANGED, EVERYTHING, Scope
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.engine import rounds
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.lock import LeaseLost, client_lock
from reconciler_dagster_tests.model.stage import Killed
from reconciler_dagster_tests.world import ANN, BOB, World, world


def ids(acme: World, count: int) -> list[str]:
    return sorted(acme.sandbox.records())[:count]


def test_first_run_fills_the_portal_and_the_second_makes_one_call(portal_db: str) -> None:
    with world(portal_db, leads=150) as acme:
        ran = acme.sync()
        assert ran.counts.airtable_calls == 1 + 2  # metadata, and two pages
        assert (ran.counts.pulled, ran.counts.local_writes) == (150, 150)
        acme.assert_converged()
        acme.assert_quiet()


def test_a_conflict_ends_with_airtables_value_and_the_loser_kept(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")
    acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
    assert acme.sync().counts.conflicts == 1
    assert acme.lead(record_id)["hrq_status"] == "Review"
    assert acme.cell(record_id, "HRQ Status") == "Review"
    rows = acme.sql("SELECT field, kind, winning_value, losing_value FROM reconciler.conflict")
    assert rows == [("hrq_status", "both_edited", "Review", "Archive")]
    acme.assert_quiet()
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 1


def test_equal_edits_are_no_conflict(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")
    acme.sandbox.edit(record_id, {"HRQ Status": "Archive"})
    ran = acme.sync()
    assert (ran.counts.conflicts, ran.counts.local_writes, ran.counts.remote_writes) == (0, 0, 0)
    acme.assert_converged()
    acme.assert_quiet()


def test_an_edit_of_a_field_that_airtable_owns_is_put_back_and_kept(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    before = acme.cell(record_id, "Email")
    acme.update(record_id, email="other@portal.example")
    acme.sync()
    assert acme.lead(record_id)["email"] == before
    assert acme.value("SELECT losing_value FROM reconciler.conflict") == "other@portal.example"
    acme.assert_quiet()


def test_300_edits_and_120_claims_cost_19_calls_and_the_next_run_one(portal_db: str) -> None:
    with world(portal_db, leads=500, limited=True) as acme:
        acme.sync()
        acme.sandbox.advance(3600)
        acme.sync()
        chosen = ids(acme, 420)
        acme.sandbox.edit_many({r: {"Job Title": "Head of Sales"} for r in chosen[:300]})
        acme.sandbox.advance(10)
        acme.sql(
            "UPDATE leads SET claimed_by = :ann, claimed_at = now() "
            "WHERE airtable_record_id = ANY(:ids)",
            ann=acme.user(ANN),
            ids=chosen[300:],
        )
        acme.sandbox.reset_calls()
        ran = acme.sync()
        assert (ran.counts.local_writes, ran.counts.remote_writes) == (300, 120)
        assert ran.counts.airtable_calls == len(acme.sandbox.calls())
        assert ran.counts.airtable_calls <= 3 + 1 + 2 + 12 + 1
        assert [call for call in acme.sandbox.calls() if call["status"] == 429] == []
        acme.assert_quiet()
        acme.assert_converged()


def test_an_edit_right_after_a_big_push_is_not_left_out_as_seen(portal_db: str) -> None:
    with world(portal_db, leads=200) as acme:
        acme.sync()
        acme.sql("UPDATE leads SET claimed_by = :ann, claimed_at = now()", ann=acme.user(ANN))
        acme.sync()
        for record_id in ids(acme, 5):
            acme.sandbox.edit(record_id, {"Company": "Edited in the same second"})
        acme.sync()
        assert {acme.lead(r)["company"] for r in ids(acme, 5)} == {"Edited in the same second"}


def test_an_edit_under_an_open_transaction_is_not_missed(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    with acme.engine.connect() as portal, portal.begin():
        portal.execute(
            text("UPDATE leads SET hrq_status = 'Archive' WHERE airtable_record_id = :id"),
            {"id": record_id},
        )
        acme.sandbox.edit(record_id, {"Company": "Changed meanwhile"})
        acme.sync()  # does not wait for the portal, and leaves the lead for later
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == "Archive"
    assert acme.lead(record_id)["company"] == "Changed meanwhile"
    acme.assert_converged()
    acme.assert_quiet()


def test_an_edit_between_pull_and_push_goes_through_the_merge(acme: World) -> None:
    first, second, third = ids(acme, 3)
    for record_id in (first, second, third):
        acme.update(record_id, hrq_status="Archive")
    with acme.underway():
        acme.sandbox.edit(first, {"HRQ Status": "Review"})
        acme.update(second, hrq_status="Qualified")
        acme.sandbox.edit(third, {"Company": "Another field"})
    assert acme.cell(first, "HRQ Status") == "Review"
    assert acme.lead(first)["hrq_status"] == "Review"
    acme.sync()
    assert acme.cell(second, "HRQ Status") == "Qualified"
    assert acme.lead(third)["company"] == "Another field"
    acme.assert_converged()
    acme.assert_quiet()


def test_a_run_that_lost_its_lease_writes_nothing(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Company": "Stale"})
    session = acme.session()
    with client_lock(acme.engine, acme.client.id, session.run_id, 0):
        pull_airtable(session, CHANGED)
        pull_postgres(session)
        diff(session)
    acme.sandbox.edit(record_id, {"Company": "Fresh"})
    acme.sync()
    with pytest.raises(LeaseLost, match="run again"):
        push(session)
    assert acme.lead(record_id)["company"] == "Fresh"


@pytest.mark.parametrize("act", ["cut_before_commit", "cut_after_commit", "status_after_commit"])
def test_a_write_without_an_answer_is_settled_by_comparing(acme: World, act: str) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")
    acme.sandbox.fault(act, method="PATCH")
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == "Archive"
    assert acme.value("SELECT count(*) FROM reconciler.journal WHERE state <> 'acknowledged'") == 0
    acme.assert_converged()
    acme.assert_quiet()


def test_a_portal_edit_after_an_unanswered_write_is_not_lost_to_our_own_write(acme: World) -> None:
    """Airtable holds what we sent, the portal holds something newer: that is no conflict."""
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")
    acme.sandbox.fault("cut_after_commit", method="PATCH")
    acme.sandbox.fault("status", status=500, method="GET", skip=2, times=None)
    with pytest.raises(SourceError):
        acme.sync()
    acme.sandbox.clear_faults()
    acme.update(record_id, hrq_status="Qualified")
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == "Qualified"
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 0
    acme.assert_converged()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_reads_are_tried_again(acme: World, status: int) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Company": "Read at last"})
    acme.sandbox.fault("status", status=status, method="GET", times=2)
    ran = acme.sync()
    # Of two 429s the second meets the question whose limit it is, which is no call to the base.
    assert ran.counts.airtable_calls == (2 if status == 429 else 3)
    assert acme.lead(record_id)["company"] == "Read at last"


def test_a_lost_iterator_is_begun_anew(portal_db: str) -> None:
    with world(portal_db, leads=250) as acme:
        acme.sandbox.fault("kill_iterator", times=1)
        assert acme.sync().counts.local_writes == 250
        acme.assert_converged()


def test_the_monthly_limit_ends_the_run_without_a_retry(acme: World) -> None:
    acme.sandbox.switch(monthly_cap=0)
    with pytest.raises(MonthlyLimitReached):
        acme.sync()


def test_a_renamed_field_is_followed(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.rename_field("Company", "Firm")
    acme.sandbox.edit(record_id, {"Firm": "Renamed Ltd"})
    acme.sync()
    assert acme.lead(record_id)["company"] == "Renamed Ltd"
    notes = acme.session().check_mapping(force=True).notes
    assert notes == ("'Company' is now called 'Firm'; followed by its id.",)


def test_a_deleted_field_is_stopped_and_never_reads_as_cleared(acme: World) -> None:
    record_id = next(r for r in ids(acme, 40) if acme.cell(r, "Company"))
    company = acme.lead(record_id)["company"]
    acme.sandbox.delete_field("Company")
    acme.sandbox.edit(record_id, {"Job Title": "Still followed"})
    ran = acme.sync()
    assert ran.pulled.stopped == [
        "'Company' is stopped: the table has no such field; add it or rename it back."
    ]
    assert acme.lead(record_id)["title"] == "Still followed"
    assert acme.lead(record_id)["company"] == company


def test_a_retyped_field_never_reads_as_cleared(acme: World) -> None:
    record_id = next(r for r in ids(acme, 40) if acme.cell(r, "Company"))
    company = acme.lead(record_id)["company"]
    acme.sandbox.retype_field("Company", "checkbox", {"icon": "check", "color": "greenBright"})
    acme.sandbox.edit(record_id, {"Job Title": "Still followed"})
    ran = acme.sync()
    assert "'Company' is stopped: it is of type checkbox" in ran.pulled.stopped[0]
    assert acme.lead(record_id)["title"] == "Still followed"
    assert acme.lead(record_id)["company"] == company


def test_an_unreadable_cell_stops_alone_and_drains_when_mended(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    phone = acme.lead(record_id)["phone"]
    acme.sandbox.edit(record_id, {"Phone": "x" * 21, "Company": "Goes through"})
    assert acme.sync().counts.quarantined == 1
    assert acme.lead(record_id)["company"] == "Goes through"
    assert acme.lead(record_id)["phone"] == phone
    acme.sandbox.edit(record_id, {"Phone": "+49 30 1234"})
    assert acme.sync().counts.quarantined == 0
    assert acme.lead(record_id)["phone"] == "+49 30 1234"


def test_what_postgres_refuses_is_found_and_holds_nothing_up(acme: World) -> None:
    bad, good = ids(acme, 2)
    acme.sql("ALTER TABLE leads ADD CONSTRAINT no_acme CHECK (company <> 'Forbidden')")
    acme.sandbox.edit(bad, {"Company": "Forbidden", "Job Title": "Goes through"})
    acme.sandbox.edit(good, {"Company": "Allowed"})
    assert acme.sync().counts.quarantined == 1
    assert acme.lead(good)["company"] == "Allowed"
    assert acme.lead(bad)["title"] == "Goes through"
    assert "violates check constraint" in acme.value("SELECT reason FROM reconciler.quarantine")
    acme.sql("ALTER TABLE leads DROP CONSTRAINT no_acme")
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    assert acme.sync().counts.quarantined == 0
    assert acme.lead(bad)["company"] == "Forbidden"


def test_what_airtable_refuses_is_found_by_halving(acme: World) -> None:
    """A refusal that no metadata foretells: a text over 100,000 characters."""
    chosen = ids(acme, 10)
    for record_id in chosen:
        acme.update(record_id, sms_stop_reason="asked to", hrq_status="Archive")
    acme.update(chosen[4], notes="x" * 100_001)
    ran = acme.sync()
    assert ran.counts.quarantined == 1
    assert {acme.cell(r, "HRQ Status") for r in chosen} == {"Archive"}
    assert acme.sql("SELECT record_id, field FROM reconciler.quarantine") == [(chosen[4], "notes")]
    acme.update(chosen[4], notes="short")
    assert acme.sync().counts.quarantined == 0
    acme.assert_converged()


def test_a_waiting_refusal_is_not_sent_again_with_another_edit(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Postponed")
    acme.sync()
    acme.update(record_id, claimed_by=acme.user(BOB))
    acme.sandbox.reset_calls()
    acme.sync()
    assert sum(call["method"] == "PATCH" for call in acme.sandbox.calls()) == 1
    assert acme.cell(record_id, "Claimed By") == BOB
    assert acme.value("SELECT attempts FROM reconciler.quarantine") == 1


def test_a_lead_deleted_in_postgres_comes_back_whole(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, enrolled_message_count=7)
    acme.sync()
    before = acme.lead(record_id)
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    acme.sync()
    after = acme.lead(record_id)
    assert {k: after[k] for k in after if k != "updated_at"} == {
        k: before[k] for k in before if k != "updated_at"
    }


def test_a_lead_of_another_client_is_not_taken_over(acme: World) -> None:
    record_id = acme.sandbox.add({"First Name": "Twice"})
    acme.sql(
        "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Other', 'appOther000000000')"
    )
    acme.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
        "SELECT id, :id, 'Theirs', '', '' FROM clients WHERE company_name = 'Other'",
        id=record_id,
    )
    assert acme.sync().counts.quarantined == 1
    assert acme.lead(record_id)["first_name"] == "Theirs"


def test_a_record_gone_in_airtable_is_told_and_costs_the_edit_nothing(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    acme.update(record_id, hrq_status="Archive")
    assert acme.sync().counts.quarantined == 1
    assert acme.lead(record_id)["hrq_status"] == "Archive"
    assert "no such record" in acme.value("SELECT reason FROM reconciler.quarantine")
    acme.sandbox.restore(record_id)
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    assert acme.sync().counts.quarantined == 0
    assert acme.cell(record_id, "HRQ Status") == "Archive"


def test_a_lead_that_is_gone_on_both_sides_waits_for_nobody(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    acme.update(record_id, hrq_status="Archive")
    acme.sync()
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    assert acme.sync().counts.quarantined == 0


def test_first_contact_of_an_existing_portal_blanks_nothing(acme: World) -> None:
    claimed, agreed, differs = ids(acme, 3)
    acme.update(claimed, claimed_by=acme.user(ANN), notes="portal note")
    acme.update(differs, hrq_status="Archive")
    acme.sandbox.edit(claimed, {"Notes": None, "Claimed By": None})
    acme.sandbox.edit(differs, {"HRQ Status": "Review"})
    acme.sql("DELETE FROM reconciler.baseline")
    acme.sql("DELETE FROM reconciler.cursor")
    acme.sync()
    assert acme.cell(claimed, "Claimed By") == ANN
    assert acme.cell(claimed, "Notes") == "portal note"
    assert acme.lead(differs)["hrq_status"] == "Review"
    assert acme.sql("SELECT kind, losing_value FROM reconciler.conflict") == [
        ("first_contact", "Archive")
    ]
    assert agreed in acme.sides()[2]
    acme.assert_converged()
    ran = acme.sync(EVERYTHING)
    assert (ran.counts.local_writes, ran.counts.remote_writes) == (0, 0)


def test_a_window_touches_its_own_leads_alone(acme: World) -> None:
    created = {k: v["createdTime"] for k, v in acme.sandbox.records().items()}
    cut = sorted(created.values())[20]
    scope = Scope("created", None, datetime.fromisoformat(cut).astimezone(UTC))
    ran = acme.sync(scope)
    assert ran.pulled.listed == sum(time < cut for time in created.values())


def test_airtables_clock_running_backward_loses_no_edit(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.advance(-2 * 3600)
    acme.sandbox.edit(record_id, {"Company": "Edited two hours ago, just now"})
    acme.sync()
    acme.sync()
    assert acme.lead(record_id)["company"] == "Edited two hours ago, just now"


def test_wrong_settings_are_one_sentence(acme: World) -> None:
    acme.sql("UPDATE clients SET airtable_base_id = 'appWrong0000000000'")
    acme.client = type(acme.client)(acme.client.id, acme.client.name, "appWrong0000000000")
    acme.sql("DELETE FROM reconciler.table_binding")
    with pytest.raises(ConfigurationError, match="Base appWrong0000000000 cannot be read"):
        acme.sync()


def test_what_a_killed_run_staged_is_dropped_after_a_day(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record_id,) = ids(acme, 1)
    acme.update(record_id, hrq_status="Archive")

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as killing, pytest.raises(Killed), acme.underway():
        killing.setattr(rounds, "load", kill)
    staged = "SELECT count(DISTINCT run_id) FROM reconciler.staged_record"
    assert acme.value(staged) == 1
    acme.sql("UPDATE reconciler.staged_pull SET staged_at = staged_at - interval '25 hours'")
    acme.sync()
    assert acme.value(staged) == 0
    assert acme.cell(record_id, "HRQ Status") == "Archive"


def test_an_edit_of_another_lead_between_pull_and_push_is_not_settled(acme: World) -> None:
    """A run settles what it has read, and nothing else."""
    first, second = ids(acme, 2)
    acme.update(first, hrq_status="Archive")
    session = acme.session()
    with client_lock(acme.engine, acme.client.id, session.run_id, 5):
        pull_airtable(session, CHANGED)
        pull_postgres(session)
        acme.update(second, hrq_status="Qualified")
        diff(session)
        push(session)
    acme.sync()
    assert acme.cell(second, "HRQ Status") == "Qualified"
    acme.assert_converged()


def test_a_clock_of_airtables_that_is_behind_ours_costs_no_second_call(acme: World) -> None:
    """The cursor stands on Airtable's clock; on ours, every run would look for lost time."""
    acme.sandbox.advance(-3600)
    acme.sync()
    acme.assert_quiet()


@pytest.mark.parametrize(
    "base_id", ["", "app", "https://airtable.com/app", "appa/../b/c/d/ef", "tbl"]
)
def test_what_is_no_base_id_is_a_wrong_setting_and_no_call(acme: World, base_id: str) -> None:
    acme.client = type(acme.client)(acme.client.id, acme.client.name, base_id)
    acme.sandbox.reset_calls()
    with pytest.raises(ConfigurationError, match="a base id is 'app' and 14"):
        acme.sync()
    assert acme.sandbox.calls() == []


def test_what_sticks_to_a_base_id_comes_off(acme: World) -> None:
    acme.sql("UPDATE clients SET airtable_base_id = chr(160) || airtable_base_id || E' \\r\\n'")
    with acme.engine.connect() as connection:
        (client,) = active_clients(connection)
    assert client.base_id == acme.sandbox.base_id
