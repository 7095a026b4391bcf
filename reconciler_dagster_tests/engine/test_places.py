"""A client whose base or table becomes another one: noticed, told, and met as a first contact."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from reconciler_dagster.core.place import PlaceChanged
from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.postgres import bindings
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.windows import inactive, states, sweep
from reconciler_dagster_tests.world import ANN, World

OTHER = "appOther000000000"
MEMORY = (
    "baseline",
    "cursor",
    "seen",
    "quarantine",
    "tombstone",
    "month_listing",
    "own_write",
    "great_sync",
)


def give_base(acme: World, base_id: str) -> None:
    """The operator's act. Runs from now on are of this base; so are people's acts in Airtable."""
    acme.sql("UPDATE clients SET airtable_base_id = :base", base=base_id)
    with acme.engine.connect() as connection:
        acme.client = active_clients(connection)[0]
    acme.sandbox = acme.sandbox.on(base_id)


def restored(acme: World) -> None:
    """The client's base is a copy of what it was."""
    acme.sandbox.copy_base(OTHER)
    give_base(acme, OTHER)


def said(notes: list[str]) -> bool:
    return any("base is another one" in note for note in notes)


def test_a_delta_meets_another_base_as_a_first_contact(acme: World) -> None:
    edited, claimed, differs = sorted(acme.sandbox.records())[:3]
    before = acme.lead(edited)["company"]
    acme.sandbox.copy_base(OTHER)
    acme.sandbox.edit(edited, {"Company": "Lost with the old base"})
    acme.sync()
    acme.update(claimed, claimed_by=acme.user(ANN))
    acme.update(differs, hrq_status="Archive")
    acme.sandbox.on(OTHER).edit(differs, {"HRQ Status": "Review"})
    added = acme.sandbox.on(OTHER).add({"Company": "Only in the new one"})
    give_base(acme, OTHER)
    ran = acme.sync()
    assert said(ran.pulled.notes)
    assert acme.lead(edited)["company"] == before
    assert acme.cell(claimed, "Claimed By") == ANN
    assert acme.lead(differs)["hrq_status"] == "Review"
    assert ("hrq_status", "Archive") in acme.sql(
        "SELECT field, losing_value FROM reconciler.conflict"
    )
    assert acme.lead(added)["company"] == "Only in the new one"
    acme.assert_converged()
    again = acme.sync()
    assert not said(again.pulled.notes)
    acme.assert_quiet()


def test_back_again_is_a_change_again(acme: World) -> None:
    first = acme.sandbox.base_id
    restored(acme)
    acme.sync()
    acme.sandbox.on(first).edit(min(acme.sandbox.records()), {"Company": "Of the first"})
    give_base(acme, first)
    assert said(acme.sync().pulled.notes)
    acme.assert_converged()


def test_nothing_that_describes_the_old_base_is_used(acme: World) -> None:
    """Not even what was never answered, refused, or missing."""
    gone, refused, unanswered = sorted(acme.sandbox.records())[:3]
    acme.sandbox.copy_base(OTHER)
    acme.sandbox.delete(gone)
    sweep(acme)
    acme.update(refused, hrq_status="Postponed")
    acme.update(unanswered, notes="from the portal")
    acme.sandbox.fault("hang", method="PATCH", times=9, seconds=0)
    acme.sync()
    acme.sandbox.clear_faults()
    acme.sandbox.on(OTHER).edit(unanswered, {"Notes": "another text"})
    give_base(acme, OTHER)
    acme.sync()
    assert acme.lead(unanswered)["notes"] == "another text"
    assert states(acme) == {}
    assert acme.value("SELECT count(*) FROM reconciler.journal WHERE state <> 'acknowledged'") == 0


@pytest.mark.parametrize("way", ["great sync", "audit"])
def test_runs_over_windows_meet_it_too(acme: World, way: str) -> None:
    sweep(acme)
    restored(acme)
    record_id = min(acme.sandbox.records())
    acme.sandbox.edit(record_id, {"Company": "Of the new base"})
    if way == "audit":
        audited, counts = windows.audited(acme)
        assert (audited.windows, counts.local_writes) == ([], 0)  # the Great Sync is first
        for table in MEMORY:
            assert acme.value(f"SELECT count(*) FROM reconciler.{table}") == 0  # noqa: S608
        acme.sync()
    else:
        own, window = windows.listed(acme)
        assert own.moved is not None
        assert window.absent == []
        windows.carried_out(own, window)
    assert acme.lead(record_id)["company"] == "Of the new base"
    acme.assert_converged()


@pytest.mark.parametrize("scope", [CHANGED, EVERYTHING])
def test_a_dry_run_changes_nothing_and_plans_what_the_run_does(acme: World, scope: object) -> None:
    differs, claimed, refused = sorted(acme.sandbox.records())[:3]
    acme.update(refused, hrq_status="no option")
    acme.sync()
    acme.update(claimed, notes="from the portal")
    restored(acme)
    acme.sandbox.edit(refused, {"HRQ Status": None})
    acme.sandbox.edit(differs, {"HRQ Status": None, "Company": "Of the new base"})
    acme.sandbox.edit(claimed, {"Notes": "from Airtable"})
    before = {t: acme.sql(f"SELECT * FROM reconciler.{t} ORDER BY 1, 2") for t in MEMORY}  # noqa: S608
    session = acme.session(dry_run=True)
    assert said(pull_airtable(session, scope).notes)  # type: ignore[arg-type]
    pull_postgres(session)
    planned = diff(session)
    after = {t: acme.sql(f"SELECT * FROM reconciler.{t} ORDER BY 1, 2") for t in MEMORY}  # noqa: S608
    assert after == before
    assert planned.newly_refused == 1, "that it was told of the other base counts for nothing"
    assert acme.sync(scope).change_set == planned  # type: ignore[arg-type]
    assert acme.cell(differs, "HRQ Status") is not None


def test_a_base_from_before_this_version_is_taken_over_in_silence(acme: World) -> None:
    acme.sql("UPDATE reconciler.table_binding SET base_id = NULL")
    ran = acme.sync()
    assert (ran.pulled.everything, ran.pulled.notes) == (False, [])
    assert acme.value("SELECT base_id FROM reconciler.table_binding") == acme.client.base_id
    acme.assert_quiet()


def test_another_name_for_the_same_table_is_no_change(acme: World) -> None:
    acme.settings.airtable_leads_table = acme.session().table_id
    ran = acme.sync()
    assert (ran.pulled.everything, ran.pulled.notes) == (False, [])


def test_another_table_in_the_settings_is_a_change(acme: World) -> None:
    names = ("First Name", "Company", "Notes")
    acme.sandbox.create_table(
        "People", [{"name": name, "type": "singleLineText"} for name in names]
    )
    record_id = acme.sandbox.on(table="People").add({"Company": "Of the other table"})
    acme.settings.airtable_leads_table = "People"
    ran = acme.sync()
    assert any("another table" in note for note in ran.pulled.notes)
    assert acme.lead(record_id)["company"] == "Of the other table"
    assert inactive(acme) == set()


@pytest.mark.parametrize("way", ["delta", "great sync"])
def test_a_table_that_was_deleted_and_made_anew_is_a_change(acme: World, way: str) -> None:
    """The remembered id leads nowhere; the listing says so, and the name leads to the new one."""
    acme.sql("UPDATE reconciler.table_binding SET table_id = 'tblDeleted0000000'")
    if way == "delta":
        ran = acme.sync()
        assert any("another table" in note for note in ran.pulled.notes)
        assert ran.pulled.everything
    else:
        own, window = windows.listed(acme)
        assert own.moved is not None
        windows.carried_out(own, window)
    acme.assert_converged()


def test_leads_of_the_old_base_stay_until_a_person_decides(acme: World) -> None:
    acme.sandbox.copy_base(OTHER)
    old = acme.sandbox.add({"Company": "Only in the old one"})
    acme.sync()
    give_base(acme, OTHER)
    acme.sync()
    for _ in range(3):
        done = sweep(acme)
    assert (states(acme), inactive(acme)) == ({old: "awaiting_approval"}, set())
    assert done.counts.deletions_pending == 1
    assert acme.lead(old)["is_active"]


def test_a_lead_that_was_deleted_in_the_old_base_is_active_again_in_a_restored_one(
    acme: World,
) -> None:
    (record_id, *_) = sorted(acme.sandbox.records())
    acme.sandbox.copy_base(OTHER)
    acme.sandbox.delete(record_id)
    sweep(acme)
    sweep(acme)
    assert inactive(acme) == {record_id}
    give_base(acme, OTHER)
    acme.sync()
    assert inactive(acme) == set()


def test_a_window_that_was_listed_in_the_old_base_is_not_carried_out(acme: World) -> None:
    own, window = windows.listed(acme)
    restored(acme)
    acme.sandbox.edit(min(acme.sandbox.records()), {"Company": "Of the new base"})
    acme.sync()
    before = acme.sides()
    with pytest.raises(PlaceChanged, match="The next run"):
        windows.carried_out(own, window)
    assert acme.sides() == before


def test_a_window_is_of_the_place_it_was_listed_in_and_not_of_the_run_that_has_it(
    acme: World,
) -> None:
    """The step that carries it out is another process, which knows the new base only."""
    _, window = windows.listed(acme)
    restored(acme)
    acme.sync()
    with pytest.raises(PlaceChanged, match="The next run"):
        windows.carried_out(windows.session(acme), window)
    assert acme.value("SELECT count(*) FROM reconciler.month_listing") == 0


def test_blanks_around_another_base_are_no_part_of_it(acme: World) -> None:
    acme.sandbox.copy_base(OTHER)
    give_base(acme, OTHER + "\n")
    acme.sandbox = acme.sandbox.on(OTHER)
    assert said(acme.sync().pulled.notes)
    assert not said(acme.sync().pulled.notes)
    acme.assert_converged()


def test_a_run_that_began_before_the_change_meets_nothing(acme: World) -> None:
    """It waited for the client meanwhile: what it knows of the client is old."""
    late = acme.session()
    restored(acme)
    acme.sync()
    with pytest.raises(PlaceChanged, match="run again"):
        pull_airtable(late, CHANGED)
    acme.assert_quiet()


def test_two_runs_that_notice_at_once_drop_it_once(acme: World) -> None:
    restored(acme)
    sessions = [windows.session(acme) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda session: session.bound, sessions))
    assert sum(session.moved is not None for session in sessions) == 1
    sweep(acme)
    acme.assert_converged()


def test_it_is_told_once_by_whichever_run_comes_first(acme: World) -> None:
    restored(acme)
    assert acme.session("first").bound
    with acme.engine.begin() as connection:
        told = bindings.tell(connection, acme.pair, "second")
        assert said(told)
        assert bindings.tell(connection, acme.pair, "second") == told  # the step is run again
        assert bindings.tell(connection, acme.pair, "third") == []
        assert bindings.notice(connection, acme.pair) is not None


def test_a_client_with_the_same_base_is_another_client(acme: World) -> None:
    """Should two rows ever name one base: what is agreed on with one is not the other's."""
    acme.sync()
    twin = replace(acme.client, id=str(acme.value("SELECT gen_random_uuid()")))
    with acme.engine.connect() as connection:
        assert bindings.bound(connection, Pair(twin.id, acme.map)) is None


# A lead that moved to another client


def a_second_client(acme: World) -> tuple[str, Client, Client]:
    """A record that the base of the second one does not have, and both clients."""
    record_id = min(acme.sandbox.records())
    acme.sandbox.copy_base(OTHER)
    acme.sandbox.on(OTHER).delete(record_id)
    acme.sql("INSERT INTO clients (company_name, airtable_base_id) VALUES ('Beta', :b)", b=OTHER)
    acme.adopt()
    with acme.engine.connect() as connection:
        new = next(c for c in active_clients(connection) if c.name == "Beta")
    return record_id, acme.client, new


@pytest.mark.parametrize("met", [True, False], ids=["after a first contact", "before any"])
def test_a_moved_lead_that_waits_as_a_deletion_says_whose_base_has_it(
    acme: World, met: bool
) -> None:
    record_id, old, new = a_second_client(acme)
    if not met:
        acme.sql("DELETE FROM leads WHERE airtable_record_id <> :id", id=record_id)
        acme.sql("TRUNCATE reconciler.baseline, reconciler.cursor, reconciler.unsettled")
    acme.sql(
        "UPDATE leads SET client_id = :new WHERE airtable_record_id = :id", new=new.id, id=record_id
    )
    for acme.client in (old, new, old, new):
        acme.sync()
    acme.client = new
    for _ in range(3):
        sweep(acme)
    (state, reason) = acme.sql(
        "SELECT state, reason FROM reconciler.tombstone WHERE record_id = :id", id=record_id
    )[0]
    assert state == "awaiting_approval"
    assert "in the base of another client (Acme)" in reason
    assert acme.lead(record_id)["is_active"]
    assert "belongs to another client (Beta)" in acme.value(
        "SELECT reason FROM reconciler.quarantine WHERE record_id = :id AND client_id = :old",
        id=record_id,
        old=old.id,
    )


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_lead_that_moved_to_another_client_is_noted_for_both(acme: World, first: str) -> None:
    record_id, old, new = a_second_client(acme)
    acme.sql("DELETE FROM reconciler.unsettled")
    acme.sql(
        "UPDATE leads SET client_id = :new WHERE airtable_record_id = :id", new=new.id, id=record_id
    )
    for client in (old, new, old) if first == "old" else (new, old, new):
        acme.client = client
        acme.sync()
    held = acme.sql(
        "SELECT client_id::text, field, direction, reason FROM reconciler.quarantine "
        "WHERE record_id = :id",
        id=record_id,
    )
    reasons = {row[0]: row[3] for row in held}
    assert {row[1] for row in held} == {"(lead)"}
    assert "belongs to another client (Beta)" in reasons[old.id]
    assert "moved here from another client (Acme)" in reasons[new.id]
    assert acme.value("SELECT count(*) FROM leads WHERE airtable_record_id = :i", i=record_id) == 1
    acme.sql(
        "UPDATE leads SET client_id = :old WHERE airtable_record_id = :id", old=old.id, id=record_id
    )
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    for acme.client in (old, new):
        acme.sync()
    held = acme.sql("SELECT client_id FROM reconciler.quarantine WHERE record_id = :i", i=record_id)
    assert held == []
