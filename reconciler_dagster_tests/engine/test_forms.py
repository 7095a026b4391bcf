"""Airtable answers in a form of its own: what it keeps is not what was sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from reconciler_dagster import effects
from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.postgres import quarantine
from reconciler_dagster_tests.model.stage import Killed
from reconciler_dagster_tests.world import ANN, World


@pytest.fixture
def rich(acme: World) -> World:
    """Notes are rich text, which Airtable keeps in its own markdown."""
    acme.sandbox.retype_field("Notes", "richText")
    acme.sync(EVERYTHING)
    return acme


def one(acme: World) -> str:
    return min(acme.sandbox.records())


def agreed_on(acme: World, record_id: str, notes: str | None) -> None:
    acme.sandbox.edit(record_id, {"Notes": notes})
    acme.sync()


def conflicts(acme: World) -> int:
    return int(acme.value("SELECT count(*) FROM reconciler.conflict"))


def patches(acme: World) -> int:
    return sum(call["method"] == "PATCH" for call in acme.sandbox.calls())


def assert_settled(acme: World, record_id: str, column: str, name: str, value: Any) -> None:
    """Both sides hold the value, nothing lost to it, and nothing is written any more."""
    assert acme.cell(record_id, name) == value
    assert acme.lead(record_id)[column] == value
    assert conflicts(acme) == 0
    for scope in (EVERYTHING, EVERYTHING):
        ran = acme.sync(scope)
        assert (ran.counts.local_writes, ran.counts.remote_writes) == (0, 0)
    assert acme.cell(record_id, name) == value
    acme.assert_converged()
    acme.assert_quiet()


def test_a_rich_note_takes_airtables_form_in_one_run(rich: World) -> None:
    record_id = one(rich)
    rich.update(record_id, notes="* __called__ *twice*\r\n+ wants an offer")
    ran = rich.sync()
    assert ran.counts.remote_writes == ran.counts.local_writes == 1
    form = rich.cell(record_id, "Notes")
    assert form.startswith("- **called** _twice_")
    assert_settled(rich, record_id, "notes", "Notes", form)
    shown = rich.sql("SELECT new_value FROM reconciler.history WHERE side = 'postgres'")
    assert (form,) in [tuple(row) for row in shown]


@pytest.mark.parametrize(
    ("switches", "written", "kept"),
    [
        ({"trim_text": True}, "  asked twice \n", "asked twice"),
        ({"crlf_to_lf": True}, "asked\r\ntwice\r", "asked\ntwice\n"),
        ({"trim_text": True, "crlf_to_lf": True}, "\u00a0a\r\nb\u00a0\r\n", "a\nb"),
    ],
)
def test_a_text_is_trimmed_or_its_line_ends_are_others(
    acme: World, switches: dict[str, bool], written: str, kept: str
) -> None:
    record_id = one(acme)
    acme.sandbox.switch(**switches)
    acme.update(record_id, sms_stop_reason=written)
    acme.sync()
    assert_settled(acme, record_id, "sms_stop_reason", "SMS Stop Reason", kept)


def test_a_form_that_airtable_holds_already_is_taken_and_not_refused(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.edit(record_id, {"SMS Stop Reason": "asked"})
    acme.sync()
    acme.sandbox.switch(trim_text=True)
    acme.update(record_id, sms_stop_reason="asked  ")
    acme.sync()
    assert acme.sql("SELECT field FROM reconciler.quarantine") == []
    assert_settled(acme, record_id, "sms_stop_reason", "SMS Stop Reason", "asked")


def test_an_option_is_sent_and_kept_as_airtable_spells_it(acme: World) -> None:
    record_id = one(acme)
    acme.update(record_id, hrq_status=" manual process\u00a0")
    acme.sync()
    assert_settled(acme, record_id, "hrq_status", "HRQ Status", "Manual Process")


def test_options_that_differ_in_a_blank_are_two(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.add_option("HRQ Status", " Review")
    acme.update(record_id, hrq_status=" Review")
    acme.sync()
    assert_settled(acme, record_id, "hrq_status", "HRQ Status", " Review")
    acme.update(record_id, hrq_status="Review ")
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == " Review"
    assert "no option" in acme.value("SELECT reason FROM reconciler.quarantine")


def after_the_patch(acme: World, act: Any) -> None:
    """Do something once Airtable has answered the first write."""

    def hook(moment: str, name: str) -> None:
        if moment == "after" and name == "PATCH to Airtable":
            effects.hook = None
            act()

    effects.hook = hook


def test_an_edit_made_while_airtable_answered_is_not_written_over(rich: World) -> None:
    record_id = one(rich)
    agreed_on(rich, record_id, "agreed")
    rich.update(record_id, notes="agreed\n*first*")
    after_the_patch(rich, lambda: rich.update(record_id, notes="agreed\n*first*\n*second*"))
    rich.sync()
    assert rich.lead(record_id)["notes"] == "agreed\n*first*\n*second*"
    rich.sync()
    assert_settled(rich, record_id, "notes", "Notes", "agreed\n_first_\n_second_\n")


def test_an_edit_of_another_column_meanwhile_stands_in_no_ones_way(rich: World) -> None:
    record_id = one(rich)
    rich.update(record_id, notes="*note*")
    after_the_patch(rich, lambda: rich.update(record_id, sms_stop_reason="asked"))
    rich.sync()
    assert rich.lead(record_id)["notes"] == "_note_\n"
    rich.sync()
    assert rich.cell(record_id, "SMS Stop Reason") == "asked"
    assert_settled(rich, record_id, "notes", "Notes", "_note_\n")


def test_a_lead_that_is_locked_when_airtable_answers_takes_the_form_later(rich: World) -> None:
    record_id = one(rich)
    rich.update(record_id, notes="*note*")
    portal = rich.engine.connect()
    transaction = portal.begin()
    lock = text("SELECT FROM leads WHERE airtable_record_id = :id FOR UPDATE")
    after_the_patch(rich, lambda: portal.execute(lock, {"id": record_id}))
    rich.sync()
    assert rich.lead(record_id)["notes"] == "*note*"
    transaction.rollback()
    portal.close()
    rich.sync()
    assert_settled(rich, record_id, "notes", "Notes", "_note_\n")


def unanswered(acme: World) -> None:
    """The writes arrive, no answer comes, and the run ends there."""
    acme.sandbox.fault("cut_after_commit", method="PATCH", times=1)

    def kill(moment: str, name: str) -> None:
        if moment == "after" and name == "PATCH to Airtable":
            raise Killed

    effects.hook = kill
    with suppress(Killed):
        acme.sync()
    effects.hook = None
    acme.sandbox.clear_faults()


@pytest.mark.parametrize("more", ["", "\n* more"])
def test_an_unanswered_write_that_arrived_in_another_form_settles(rich: World, more: str) -> None:
    record_id = one(rich)
    agreed_on(rich, record_id, "agreed")
    rich.update(record_id, notes="agreed\n* __sent__")
    unanswered(rich)
    assert rich.cell(record_id, "Notes") == "agreed\n- **sent**\n"
    if more:
        rich.update(record_id, notes=f"agreed\n* __sent__{more}")
    rich.sync()
    rich.sync()
    form = "agreed\n- **sent**\n" + ("- more\n" if more else "")
    assert_settled(rich, record_id, "notes", "Notes", form)


@pytest.mark.parametrize(
    ("typed", "stands"),
    [
        ("on top\nagreed\n- **sent**\n", "on top\nagreed\n- **sent**\n"),
        ("agreed, and so\n- **sent**\nbelow\n", "agreed, and so\n- **sent**\nbelow\n"),
    ],
)
def test_nor_does_it_grow_where_somebody_typed_into_it_since(
    rich: World, typed: str, stands: str
) -> None:
    record_id = one(rich)
    agreed_on(rich, record_id, "agreed")
    rich.update(record_id, notes="agreed\n* __sent__")
    unanswered(rich)
    rich.sandbox.edit(record_id, {"Notes": typed})
    rich.sync()
    assert_settled(rich, record_id, "notes", "Notes", stands)


@pytest.mark.parametrize("edited", [None, "edited since"])
def test_an_unanswered_text_that_was_trimmed_settles(acme: World, edited: str | None) -> None:
    record_id = one(acme)
    acme.sandbox.switch(trim_text=True)
    acme.update(record_id, sms_stop_reason=" asked ")
    unanswered(acme)
    if edited:
        acme.update(record_id, sms_stop_reason=edited)
    acme.sync()
    assert_settled(acme, record_id, "sms_stop_reason", "SMS Stop Reason", edited or "asked")


def test_notes_appended_on_both_sides_stand_once_in_airtables_form(rich: World) -> None:
    record_id = one(rich)
    agreed_on(rich, record_id, "* agreed")
    rich.update(record_id, notes="* agreed\r\n* __portal__")
    rich.sandbox.edit(record_id, {"Notes": "- agreed\n* Airtable"})
    rich.sync()
    form = "- agreed\n- Airtable\n- **portal**\n"
    assert_settled(rich, record_id, "notes", "Notes", form)


@pytest.mark.parametrize("text_", [None, "anew"])
def test_notes_written_anew_or_cleared_in_the_portal_are_no_conflict_with_a_form(
    rich: World, text_: str | None
) -> None:
    """The field became rich text meanwhile, so that every cell was respelled."""
    record_id = one(rich)
    rich.sandbox.retype_field("Notes", "multilineText")
    agreed_on(rich, record_id, "* agreed")
    rich.sandbox.retype_field("Notes", "richText")
    rich.session().check_mapping(force=True)
    rich.update(record_id, notes=text_)
    rich.sync(EVERYTHING)
    assert conflicts(rich) == 0
    assert rich.cell(record_id, "Notes") == f"{text_ or ''}\n"
    assert rich.lead(record_id)["notes"] == (f"{text_}\n" if text_ else None)


def test_a_rich_text_that_was_emptied_overwrites_nothing_at_first_contact(rich: World) -> None:
    emptied, blank = sorted(rich.sandbox.records())[:2]
    for record_id in (emptied, blank):
        agreed_on(rich, record_id, "typed")
    rich.sandbox.edit(emptied, {"Notes": None})
    rich.sandbox.edit(blank, {"Notes": " \n \n"})
    assert rich.cell(emptied, "Notes") == "\n"
    for record_id in (emptied, blank):
        rich.update(record_id, notes="the portal's")
    rich.sql("DELETE FROM reconciler.baseline")
    rich.sync()
    for record_id in (emptied, blank):
        assert rich.cell(record_id, "Notes") == "the portal's\n"
        assert_settled(rich, record_id, "notes", "Notes", "the portal's\n")


def test_two_spellings_at_first_contact_are_no_conflict(rich: World) -> None:
    record_id = one(rich)
    agreed_on(rich, record_id, "- **typed**\n")
    rich.update(record_id, notes="* __typed__")
    rich.sql("DELETE FROM reconciler.baseline")
    rich.sync()
    assert_settled(rich, record_id, "notes", "Notes", "- **typed**\n")


REWRITES = """
CREATE FUNCTION public.untidy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF pg_trigger_depth() = 1 THEN
    UPDATE public.leads SET notes = rtrim(notes, E'\\n') WHERE id = NEW.id;
END IF; RETURN NULL; END $$;
CREATE TRIGGER untidy AFTER UPDATE ON public.leads
FOR EACH ROW EXECUTE FUNCTION public.untidy();
"""


def test_a_cell_that_both_sides_rewrite_for_ever_is_stopped_and_told(rich: World) -> None:
    """The portal takes off the line end that Airtable puts on."""
    record_id = one(rich)
    rich.sql(REWRITES)
    rich.update(record_id, notes="note")
    for _ in range(5):
        rich.sync(EVERYTHING)
    ((field, direction, reason),) = rich.sql(
        "SELECT field, direction, reason FROM reconciler.quarantine"
    )
    assert (field, direction) == ("notes", "to_airtable")
    assert "Notes was written to Airtable by 3 runs in a row" in reason
    rich.sandbox.reset_calls()
    rich.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")  # by waiting alone
    assert rich.sync(EVERYTHING).counts.quarantined == 1
    assert patches(rich) == 0

    def retried() -> int:
        with rich.engine.begin() as connection:
            return quarantine.retry(connection, field="notes")

    assert retried() == 1
    for _ in range(3):
        rich.sync(EVERYTHING)
    assert patches(rich) == 1  # once more, and no longer
    rich.update(record_id, notes="a person's")
    rich.sync()
    assert rich.cell(record_id, "Notes") == "a person's\n"
    rich.sql("DROP TRIGGER untidy ON leads")
    retried()
    rich.sync(EVERYTHING)
    assert_settled(rich, record_id, "notes", "Notes", "a person's\n")
    assert rich.sql("SELECT FROM reconciler.own_write") == []
    assert rich.sql("SELECT FROM reconciler.quarantine") == []


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


def test_a_field_and_a_table_are_found_by_a_name_with_blanks(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.rename_field("Company", " company\u00a0")
    acme.sql("DELETE FROM reconciler.field_binding WHERE field = 'company'")
    acme.settings.airtable_leads_table = "leads "
    acme.sandbox.edit(record_id, {" company\u00a0": "Met"})
    assert acme.sync().pulled.stopped == []
    assert acme.lead(record_id)["company"] == "Met"
