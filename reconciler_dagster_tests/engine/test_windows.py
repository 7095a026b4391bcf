"""Creation windows: first contact, a delta in between, baselines lost or void."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from datetime import UTC, datetime

import pytest

from reconciler_dagster.core.scope import EVERYTHING, Scope
from reconciler_dagster.engine import windows
from reconciler_dagster.engine.listing import CHAINS, Course, list_window
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests.windows import carried_out, listed, session, sweep
from reconciler_dagster_tests.world import ANN, World, world

pytestmark = pytest.mark.minutes


def ids(acme: World, count: int) -> list[str]:
    return sorted(acme.sandbox.records())[:count]


def test_first_contact_of_11000_leads_loses_no_claim_and_no_note(portal_db: str) -> None:
    """Half of the portal's rows hold claims and notes that Airtable lacks."""
    with world(portal_db, leads=11_000) as acme:
        before = acme.sandbox.records()
        half = sorted(before)[::2]
        acme.sql(
            "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
            "claimed_by, claimed_at, notes) SELECT :client, r, 'Old', 'Name', 'old@portal.example',"
            " :ann, '2026-01-02 03:04:05Z', 'Portal note of ' || r "
            "FROM unnest(CAST(:ids AS text[])) AS r",
            client=acme.client.id,
            ann=acme.user(ANN),
            ids=half,
        )
        acme.sql("DELETE FROM reconciler.unsettled")  # an adopted database has no trigger's notes
        first = sweep(acme)
        after = acme.sandbox.records()
        rows = {
            row[0]: row[1:]
            for row in acme.sql("SELECT airtable_record_id, notes, claimed_by FROM leads")
        }
        kept = {
            (row[0], row[1]): row[2]
            for row in acme.sql("SELECT record_id, field, losing_value FROM reconciler.conflict")
        }
        assert len(rows) == 11_000
        lost = []
        for record_id in half:
            had, has = before[record_id]["fields"], after[record_id]["fields"]
            note = f"Portal note of {record_id}"
            if had.get("Notes"):  # Airtable wins, and the portal's note is kept
                ok = rows[record_id][0] == had["Notes"] == has["Notes"]
                ok = ok and kept[record_id, "notes"] == note
            else:
                ok = rows[record_id][0] == note == has["Notes"]
            if not had.get("Claimed By"):
                ok = ok and str(rows[record_id][1]) == acme.user(ANN)
                ok = ok and has["Claimed By"] == ANN
            if not ok:
                lost.append(record_id)
        assert lost == []
        gone = [
            (key, name)
            for key, record in before.items()
            for name, cell in record["fields"].items()
            if name in ("Notes", "Claimed By", "Claimed At", "Email", "Company")
            and after[key]["fields"].get(name) != cell
        ]
        assert gone == []
        assert first.counts.remote_writes > 4000
        second = sweep(acme)
        assert (second.counts.local_writes, second.counts.remote_writes) == (0, 0)
        assert second.counts.airtable_calls == 110
        assert second.counts.conflicts == 0


def test_a_delta_between_listing_and_writing_is_not_rolled_back(acme: World) -> None:
    remote, local, both = ids(acme, 3)
    own, window = listed(acme)
    acme.sandbox.edit(remote, {"Company": "Newer"})
    acme.update(local, hrq_status="Archive")
    acme.sandbox.edit(both, {"Notes": "from Airtable"})
    acme.update(both, claimed_by=acme.user(ANN))
    acme.sync()
    acme.assert_converged()
    done = carried_out(own, window)
    assert (done.counts.local_writes, done.counts.remote_writes) == (0, 0)
    assert acme.lead(remote)["company"] == "Newer"
    assert acme.cell(local, "HRQ Status") == "Archive"
    acme.assert_converged()


def test_a_portal_edit_after_the_listing_is_pushed(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    own, window = listed(acme)
    acme.update(record_id, notes="typed meanwhile")
    assert carried_out(own, window).counts.remote_writes == 1
    assert acme.cell(record_id, "Notes") == "typed meanwhile"
    acme.assert_converged()
    acme.assert_quiet()


def test_a_field_that_is_deleted_after_the_listing_does_not_read_as_cleared(acme: World) -> None:
    own, window = listed(acme)
    before = acme.value("SELECT count(*) FROM leads WHERE company <> ''")
    acme.sandbox.delete_field("Company")
    acme.sandbox.edit(ids(acme, 1)[0], {"Notes": "so that a delta looks"})
    acme.sync()
    carried_out(own, window)
    sweep(acme)
    assert acme.value("SELECT count(*) FROM leads WHERE company <> ''") == before


def test_a_formula_that_changed_without_a_trace_is_seen(acme: World) -> None:
    (record_id,) = ids(acme, 1)
    acme.sandbox.override(record_id, "ICP Score", 97)
    acme.assert_quiet()
    assert sweep(acme).counts.local_writes == 1
    assert acme.lead(record_id)["icp_score"] == 97


def test_a_window_touches_nothing_outside_of_it(acme: World) -> None:
    created = sorted(
        datetime.fromisoformat(record["createdTime"]) for record in acme.sandbox.records().values()
    )
    middle = created[len(created) // 2].replace(tzinfo=UTC)
    for record_id in acme.sandbox.records():
        acme.sandbox.override(record_id, "ICP Score", 96)
    older = sweep(acme, Scope("created", None, middle))
    newer = sweep(acme, Scope("created", middle, None))
    assert older.counts.pulled + newer.counts.pulled == len(created)
    assert older.counts.local_writes == older.counts.pulled > 0
    assert (older.window.absent, newer.window.absent) == ([], [])


@pytest.mark.parametrize("cursor_is_left", [True, False])
def test_a_dropped_baseline_is_taken_anew_without_a_mass_write(
    acme: World, cursor_is_left: bool
) -> None:
    acme.sql("DELETE FROM reconciler.baseline")
    if not cursor_is_left:
        acme.sql("DELETE FROM reconciler.cursor")
    ran = acme.sync()
    assert (ran.counts.local_writes, ran.counts.remote_writes) == (0, 0)
    assert ran.counts.pulled == 40
    acme.assert_converged()
    done = sweep(acme)
    assert (done.counts.local_writes, done.counts.remote_writes) == (0, 0)
    assert done.counts.deletions == 0


def test_a_baseline_restored_from_an_old_backup_writes_only_what_differs(acme: World) -> None:
    changed, edited = ids(acme, 2)
    acme.sql("CREATE TABLE backup AS SELECT * FROM reconciler.baseline")
    acme.sandbox.edit(changed, {"Company": "After the backup"})
    acme.update(edited, hrq_status="Archive")
    added = acme.sandbox.add({"Email": "new@base.example"})
    acme.sync()
    acme.sql("DELETE FROM reconciler.baseline")
    acme.sql("INSERT INTO reconciler.baseline SELECT * FROM backup")
    done = sweep(acme)
    assert (done.counts.local_writes, done.counts.remote_writes) == (0, 0)
    assert done.counts.deletions == 0
    assert added in acme.sides()[1]
    acme.assert_converged()


def test_a_codec_that_changed_is_met_anew_without_a_mass_write(acme: World) -> None:
    acme.sql("UPDATE reconciler.field_binding SET fingerprint = 'older' WHERE field = 'notes'")
    acme.sql("UPDATE reconciler.table_binding SET read_at = '2020-01-01'")
    (record_id,) = ids(acme, 1)
    acme.sandbox.edit(record_id, {"Notes": "Airtable's"})
    done = sweep(acme)
    assert (done.counts.local_writes, done.counts.remote_writes) == (1, 0)
    acme.assert_converged()


def test_a_column_that_joins_the_map_is_met_by_the_first_contact_rule(acme: World) -> None:
    """As if HRQ Status had never been mapped: agreed on nowhere, different on both sides."""
    wins, filled = ids(acme, 2)
    acme.sql("UPDATE reconciler.baseline SET fields = fields - 'hrq_status'")
    acme.sandbox.edit_many({wins: {"HRQ Status": "Review"}, filled: {"HRQ Status": None}})
    acme.update(wins, hrq_status="Archive")
    acme.update(filled, hrq_status="Qualified")
    done = sweep(acme)
    assert (done.counts.local_writes, done.counts.remote_writes, done.counts.conflicts) == (1, 1, 1)
    assert acme.lead(wins)["hrq_status"] == "Review"
    assert acme.cell(filled, "HRQ Status") == "Qualified"


def test_the_preview_writes_nothing_and_says_what_would_happen(acme: World) -> None:
    record_id, other, third = ids(acme, 3)
    acme.sandbox.edit_many({record_id: {"Company": "Seen before"}, third: {"HRQ Status": "Review"}})
    acme.update(other, notes="to go out")
    acme.update(third, hrq_status="Archive")
    own, window = listed(acme)
    change_set = windows.preview(own, window)
    assert change_set.to_postgres == {"company": 1, "hrq_status": 1}
    assert change_set.to_airtable == {"notes": 1}
    assert change_set.conflicts == {"hrq_status": 1}
    assert {row["side"] for row in change_set.sample} == {"postgres", "airtable"}
    assert acme.lead(record_id)["company"] != "Seen before"
    windows.discard(own, window)
    assert acme.value("SELECT count(*) FROM reconciler.staged_record") == 0


def test_those_who_yield_let_others_go_first(acme: World) -> None:
    order: list[str] = []

    def take(name: str, yielding: bool) -> None:
        with client_lock(acme.engine, acme.client.id, name, 30, yielding=yielding):
            order.append(name)
            time.sleep(0.05)

    with client_lock(acme.engine, acme.client.id, "first", 5, yielding=True):
        delta = threading.Thread(target=take, args=("delta", False))
        delta.start()
        time.sleep(0.5)  # until it is waiting
        part = threading.Thread(target=take, args=("part", True))
        part.start()
        time.sleep(0.3)
    delta.join()
    part.join()
    assert order == ["delta", "part"]


def test_a_listing_that_nobody_wants_any_more_ends_after_the_pages_under_way(
    portal_db: str,
) -> None:
    """A person who interrupts a Great Sync does not wait for all that is being listed."""
    with world(portal_db, leads=1500) as acme:
        acme.sync()
        own, course = session(acme), Course()
        before = len(acme.sandbox.calls())
        course.ended.set()
        with pytest.raises(CancelledError):
            list_window(own, EVERYTHING, own.run_id, course=course)
        assert len(acme.sandbox.calls()) - before <= CHAINS
