"""Deletions: what is believed, what waits for a person, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.engine.deletions import carry_out_approved
from reconciler_dagster.postgres import decisions
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster.postgres.report import drift_report
from reconciler_dagster_tests.windows import inactive, session, states, sweep, waiting
from reconciler_dagster_tests.world import World, world


def ids(acme: World, count: int) -> list[str]:
    return sorted(acme.sandbox.records())[:count]


@pytest.fixture
def many(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=300) as here:
        sweep(here)
        yield here


def deleted(acme: World, count: int = 1) -> list[str]:
    """Records that were deleted in Airtable, and their leads in Postgres."""
    gone = ids(acme, count)
    for record_id in gone:
        acme.sandbox.delete(record_id)
    sweep(acme)
    sweep(acme)
    assert inactive(acme) == set(gone)
    return gone


def test_the_second_complete_listing_deletes_softly(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    first = sweep(acme)
    assert (first.counts.deletions, states(acme), inactive(acme)) == (
        0,
        {record_id: "missing"},
        set(),
    )
    before = acme.lead(record_id)
    second = sweep(acme)
    assert (second.counts.deletions, states(acme)) == (1, {record_id: "deleted"})
    after = acme.lead(record_id)
    assert after == before | {"is_active": False}
    archived = acme.value("SELECT archived FROM reconciler.tombstone")
    assert archived == before
    log = acme.sql("SELECT event_type, lead_id::text, description FROM lead_activity_log")
    assert log == [
        ("lead_deleted", before["id"], "Deactivated: the record was deleted in Airtable.")
    ]
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 0
    assert sweep(acme).counts.deletions == 0
    acme.assert_quiet()


def test_one_run_is_one_listing_however_often_it_looks(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    own = session(acme)
    from reconciler_dagster_tests.windows import EVERYTHING, carried_out, list_window

    for _ in range(3):
        carried_out(own, list_window(own, EVERYTHING, own.run_id))
    assert states(acme) == {record_id: "missing"}


def test_a_restored_record_makes_the_same_lead_active_again(acme: World) -> None:
    (record_id,) = deleted(acme)
    lead_id = acme.lead(record_id)["id"]
    acme.sandbox.restore(record_id)
    acme.sandbox.edit(record_id, {"Company": "Back again"})
    acme.sync()
    lead = acme.lead(record_id)
    assert (lead["id"], lead["is_active"], lead["company"]) == (lead_id, True, "Back again")
    assert states(acme) == {record_id: "returned"}
    acme.assert_converged()
    events = acme.sql("SELECT event_type FROM lead_activity_log ORDER BY timestamp")
    assert [row[0] for row in events] == ["lead_deleted", "lead_restored"]


def test_a_record_that_is_listed_again_is_no_longer_missing(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    sweep(acme)
    acme.sandbox.restore(record_id)
    sweep(acme)
    assert states(acme) == {record_id: "returned"}
    acme.sandbox.delete(record_id)
    sweep(acme)
    assert (states(acme), inactive(acme)) == ({record_id: "missing"}, set())


def test_a_deleted_lead_does_not_come_back_by_itself(acme: World) -> None:
    edited, removed = deleted(acme, 2)
    acme.update(edited, notes="typed on a deleted lead")
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=removed)
    for _ in range(2):
        acme.sync()
        sweep(acme)
    assert removed not in acme.sides()[1]
    assert not acme.lead(edited)["is_active"]
    assert acme.value("SELECT count(*) FROM reconciler.quarantine") == 0
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 0


def test_truncated_leads_come_back_but_for_the_deleted_one(acme: World) -> None:
    (record_id,) = deleted(acme)
    acme.sql("TRUNCATE leads CASCADE")
    acme.sync()
    assert set(acme.sides()[1]) == set(acme.sandbox.records())
    assert record_id not in acme.sides()[1]


def test_a_lead_removed_from_postgres_after_its_deletion_returns_whole(acme: World) -> None:
    (record_id,) = deleted(acme)
    lead_id = acme.lead(record_id)["id"]
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    acme.sync()
    acme.sandbox.restore(record_id)
    sweep(acme)
    lead = acme.lead(record_id)
    assert (lead["id"], lead["is_active"]) == (lead_id, True)


def test_quarantine_of_a_gone_record_drains_when_it_is_deleted(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.delete(record_id)
    acme.update(record_id, notes="cannot be sent any more")
    assert acme.sync().counts.quarantined == 1
    assert states(acme) == {record_id: "missing"}
    sweep(acme)
    done = sweep(acme)
    assert (done.counts.deletions, done.counts.quarantined) == (1, 0)
    archived = acme.value("SELECT archived ->> 'notes' FROM reconciler.tombstone")
    assert archived == "cannot be sent any more"


def test_a_listing_cut_short_deletes_nothing_and_says_so(many: World) -> None:
    before = many.sides()[1]
    for _ in range(3):
        many.sandbox.fault("short_listing", keep=60, path="listRecords|Leads|tbl")
        done = sweep(many)
        assert not done.reconciled.complete
        assert "cut short" in done.reconciled.doubts[0]
        assert "are there when asked for by id" in done.reconciled.doubts[0]
    assert (inactive(many), states(many)) == (set(), {})
    assert many.sides()[1] == before


def test_a_short_listing_of_few_records_reconciles_them_all_the_same(many: World) -> None:
    victims = ids(many, 300)[-4:]
    for record_id in victims:
        many.sandbox.override(record_id, "ICP Score", 98)
    many.sandbox.fault("short_listing", keep=96, skip=2)  # the last four of the last page
    done = sweep(many)
    assert not done.reconciled.complete
    assert {many.lead(record_id)["icp_score"] for record_id in victims} == {98}


def test_an_empty_base_deletes_nothing(many: World) -> None:
    for record_id in many.sandbox.records():
        many.sandbox.delete(record_id)
    for _ in range(3):
        done = sweep(many)
        assert "Airtable listed none of the 300 known records" in done.reconciled.doubts[0]
    assert inactive(many) == set()
    assert set(states(many).values()) == {"awaiting_approval"}
    assert done.counts.deletions_pending == 300


def test_a_third_of_the_base_waits_for_a_person_and_cancels_itself(many: World) -> None:
    gone = ids(many, 100)
    for record_id in gone:
        many.sandbox.delete(record_id)
    for _ in range(3):
        done = sweep(many)
        assert "100 of 300 leads are missing from Airtable" in done.reconciled.doubts[0]
        assert "wait for a person" in done.reconciled.doubts[0]
    assert (inactive(many), done.counts.deletions_pending) == (set(), 100)
    many.sandbox.restore(gone[0])
    assert sweep(many).counts.deletions_pending == 99
    assert states(many)[gone[0]] == "returned"


def test_many_small_deletions_add_up_to_the_limit(many: World) -> None:
    for _ in range(4):
        for record_id in ids(many, 4):
            many.sandbox.delete(record_id)
        sweep(many)
        done = sweep(many)
    assert len(inactive(many)) == 12
    assert done.counts.deletions_pending == 4


def decide(acme: World, state: State, record_ids: list[str] | None = None) -> None:
    with acme.engine.begin() as connection:
        decisions.decide(connection, acme.pair, record_ids, state, "Ann")


def test_what_is_approved_is_deleted_unless_it_is_back(many: World) -> None:
    gone = waiting(many, 60)
    many.sandbox.restore(gone[0])
    decide(many, State.APPROVED)
    own = session(many)
    with client_lock(many.engine, many.client.id, own.run_id, 5):
        carry_out_approved(own)
    assert own.counts.deletions == 59
    assert inactive(many) == set(gone[1:])
    assert states(many)[gone[0]] == "returned"


def test_the_next_delta_carries_out_what_was_approved_in_the_console(many: World) -> None:
    gone = waiting(many, 60)
    many.sql("UPDATE reconciler.tombstone SET state = 'approved' WHERE record_id = :id", id=gone[0])
    assert many.sync().counts.deletions == 1
    assert inactive(many) == {gone[0]}


def test_what_is_rejected_stays_and_is_not_asked_for_again(many: World) -> None:
    gone = waiting(many, 60)
    decide(many, State.REJECTED)
    done = sweep(many)
    assert (done.reconciled.doubts, done.counts.deletions_pending) == ([], 0)
    assert inactive(many) == set()
    assert set(states(many).values()) == {"rejected"}
    decide(many, State.APPROVED, gone[:1])
    many.sync()
    assert inactive(many) == {gone[0]}


def test_the_report_tells_what_is_missing(many: World) -> None:
    gone = ids(many, 1)
    many.sandbox.delete(gone[0])
    sweep(many)
    many.sql("UPDATE leads SET company = 'differs' WHERE airtable_record_id = :id", id=gone[0])
    with many.engine.connect() as connection:
        report = drift_report(connection, many.pair)
    assert report["leads"] == {"airtable": 299, "baseline": 300, "postgres": 300}
    assert report["differing_fields"] == {"company": 1}
    assert (report["missing"], report["deletions_pending"], report["unsettled"]) == (1, 0, 1)
    assert report["never_verified"] == 0


def adopt(acme: World, count: int, created: str = "2023-05-05") -> list[str]:
    """Leads of a portal that was there before us, whose records are long gone."""
    gone = [f"recGone{n:010}" for n in range(count)]
    acme.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
        "created_at) SELECT :client, r, 'Old', 'Lead', '', CAST(:created AS timestamptz) "
        "FROM unnest(CAST(:ids AS text[])) AS r",
        client=acme.client.id,
        ids=gone,
        created=created,
    )
    return gone


@pytest.mark.parametrize("count", [1, 3])
def test_a_lead_on_which_nothing_was_ever_agreed_waits_for_a_person(
    many: World, count: int
) -> None:
    many.sync()  # from here on the client is known as a whole
    gone = adopt(many, count)
    sweep(many)
    assert states(many) == dict.fromkeys(gone, "missing")
    for _ in range(3):
        done = sweep(many)
    assert (done.counts.deletions, inactive(many)) == (0, set())
    assert done.counts.deletions_pending == count
    assert "This lead was never synced" in many.value("SELECT reason FROM reconciler.tombstone")
    decide(many, State.APPROVED)
    assert many.sync().counts.deletions == count
    assert inactive(many) == set(gone)


def test_leads_that_wait_for_that_do_not_keep_others_from_being_deleted(many: World) -> None:
    many.sync()
    adopt(many, 60)
    (record_id,) = ids(many, 1)
    many.sandbox.delete(record_id)
    for _ in range(3):
        done = sweep(many)
    assert inactive(many) == {record_id}
    assert done.counts.deletions_pending == 60


def test_many_adopted_leads_without_a_record_wait_for_a_person(many: World) -> None:
    many.sync()
    adopt(many, 60)
    sweep(many)
    done = sweep(many)
    assert (inactive(many), done.counts.deletions_pending) == (set(), 60)


def test_a_lead_is_not_missing_before_the_client_was_listed_as_a_whole(portal_db: str) -> None:
    with world(portal_db, leads=20) as here:
        adopt(here, 3)
        sweep(here)
        assert states(here) == {}


def test_an_adopted_lead_that_was_created_elsewhere_in_time_is_no_short_listing(
    many: World,
) -> None:
    many.sync()
    record_id = many.sandbox.add({"Company": "New in Airtable"})
    many.sandbox.advance(60)
    many.sql(
        "UPDATE leads SET airtable_record_id = :new, created_at = '2023-05-05' "
        "WHERE id = (SELECT min(id::text)::uuid FROM leads)",
        new=record_id,
    )
    done = sweep(many, Scope("created", None, datetime(2026, 11, 1, tzinfo=UTC)))
    assert done.reconciled.doubts == []
    assert record_id not in states(many)


@pytest.mark.parametrize("own", ["manual-1", "", "recTooLong0000000000", "REC00000000000000"])
def test_a_lead_of_the_portal_s_own_is_no_deleted_one(many: World, own: str) -> None:
    """It names no record of Airtable's, so there is none to be missing."""
    many.sync()
    many.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
        "VALUES (:client, :own, 'Their', 'Own', '')",
        client=many.client.id,
        own=own,
    )
    for _ in range(3):
        sweep(many)
        many.sync()
    assert inactive(many) == set()
    assert states(many) == {}
    with many.engine.connect() as connection:
        told = drift_report(connection, many.pair)
    assert (told["portal_only"], told["not_in_airtable"], told["missing"]) == (1, 0, 0)
    many.assert_quiet()
