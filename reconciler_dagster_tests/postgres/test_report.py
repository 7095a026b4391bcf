"""The drift report over a real portal and a real base: what it counts, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import text

from reconciler_dagster.core import reading
from reconciler_dagster.core.codecs import DateTime
from reconciler_dagster.core.drift import unexplained
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.pairs import Column
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres import runs
from reconciler_dagster.postgres.connection import writing
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, Refusal, put
from reconciler_dagster.postgres.report import canonical, drift_report
from reconciler_dagster_tests.windows import states, sweep
from reconciler_dagster_tests.world import ANN, World, world

NOON = datetime(2026, 5, 4, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=30) as here:
        here.sync()
        yield here


def report(acme: World) -> dict[str, Any]:
    with acme.engine.connect() as connection:
        return drift_report(connection, acme.pair)


def unnoticed(acme: World, statement: str, **parameters: Any) -> None:
    """A write that the trigger on leads does not note, as before the portal was adopted."""
    with acme.engine.connect() as connection, writing(connection):
        connection.execute(text(statement), parameters)


def insert(acme: World, record_id: str, **columns: Any) -> None:
    given = {"client_id": acme.client.id, "airtable_record_id": record_id, "email": ""}
    values = given | {"first_name": "Old", "last_name": "Name"} | columns
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    unnoticed(acme, f"INSERT INTO leads ({names}) VALUES ({marks})", **values)  # noqa: S608


def test_what_is_kept_at_first_contact_is_told_and_is_no_drift(portal_db: str) -> None:
    with world(portal_db, leads=3) as acme:
        record_id = min(acme.sandbox.records())
        acme.sandbox.edit(record_id, {"Company": None, "Click Count": None})
        insert(acme, record_id, company="Only in the portal", notes="sent to Airtable")
        acme.sync()
        told = report(acme)
        assert told["held_back"]["company"] == 1
        assert told["held_back"]["click_count"] >= 1, "the column's default"
        assert "notes" not in told["held_back"], "a field of both sides is sent"
        assert told["differing_fields"] == {}
        assert unexplained(told) == []
        acme.sandbox.edit(record_id, {"Company": "Filled"})
        acme.sync()
        assert "company" not in report(acme)["held_back"]


def test_a_cell_in_quarantine_and_a_field_that_is_stopped_are_not_held_back(
    portal_db: str,
) -> None:
    with world(portal_db, leads=3) as acme:
        record_id = min(acme.sandbox.records())
        acme.sandbox.edit(record_id, {"Company": "x" * 300, "Job Title": None})
        insert(acme, record_id, company="Short enough", title="Kept")
        acme.sync()
        told = report(acme)
        assert told["quarantine_by_field"] == {"company": 1}
        assert "company" not in told["held_back"]
        assert told["held_back"]["title"] == 1
        acme.sandbox.delete_field("Job Title")
        acme.sql("UPDATE reconciler.table_binding SET read_at = now() - interval '2 days'")
        acme.sync()
        told = report(acme)
        assert "title" not in told["held_back"]
        assert any("'Job Title' is stopped" in why for why in told["stopped_fields"])


def test_a_lead_that_the_portal_deactivated_is_no_drift(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, is_active=False)
    acme.sync()
    told = report(acme)
    assert told["leads"] == {"airtable": 30, "baseline": 30, "postgres": 29}
    assert (told["without_lead"], told["not_in_airtable"]) == (0, 0)
    assert unexplained(told) == []


def test_what_depends_on_an_empty_column_differs_though_it_stands_as_agreed_on(
    acme: World,
) -> None:
    """Like the time of a claim that nobody holds."""
    fields = [replace(f, of="claimed_by") if f.column == "title" else f for f in acme.map.fields]
    pair = Pair(acme.client.id, replace(acme.map, fields=FieldMap(fields)))
    titled = acme.value("SELECT count(*) FROM leads WHERE title <> '' AND claimed_by IS NULL")
    assert titled > 0
    assert report(acme)["differing_fields"] == {}
    with acme.engine.connect() as connection:
        assert drift_report(connection, pair)["differing_fields"] == {"title": titled}


def test_a_column_that_is_gone_holds_nothing_of_what_was_agreed_on(acme: World) -> None:
    titled = acme.value("SELECT count(*) FROM leads WHERE title <> ''")
    acme.sql("ALTER TABLE leads DROP COLUMN title")
    assert titled > 0
    assert report(acme)["differing_fields"] == {"title": titled}


def test_leads_that_hold_what_was_agreed_on_do_not_come_out_of_postgres(acme: World) -> None:
    with patch.object(reading, "differing", side_effect=AssertionError("compared in Python")):
        assert report(acme)["differing_fields"] == {}


def test_a_claim_that_both_sides_have_is_no_difference(acme: World) -> None:
    acme.update(min(acme.sandbox.records()), claimed_by=acme.user(ANN), claimed_at=NOON)
    acme.sync()
    assert report(acme)["differing_fields"] == {}
    unnoticed(acme, "UPDATE leads SET claimed_by = NULL WHERE claimed_at IS NOT NULL")
    assert report(acme)["differing_fields"] == {"claimed_by": 1, "claimed_at": 1}


# As a column holds them; the first three are the same moment, cut to milliseconds.
MOMENTS = {
    "2026-05-04 12:00:00.123Z": 0,
    "2026-05-04 12:00:00.1239Z": 0,
    "2026-05-04 17:30:00.123+05:30": 0,
    "2026-05-04 12:00:00.124Z": 1,
    "2026-05-04 12:00:00Z": 1,
    "0044-03-15 12:00:00Z BC": 1,
    "infinity": 1,
}


@pytest.mark.parametrize("held", MOMENTS)
def test_a_moment_is_compared_as_it_was_agreed_on(acme: World, held: str) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, claimed_by=acme.user(ANN), claimed_at=NOON)
    acme.sync()
    unnoticed(
        acme,
        "UPDATE leads SET claimed_at = CAST(:held AS timestamptz) WHERE airtable_record_id = :id",
        held=held,
        id=record_id,
    )
    assert report(acme)["differing_fields"].get("claimed_at", 0) == MOMENTS[held]


@pytest.mark.parametrize("year", [1, 44, 1969, 1970, 2026, 9999])
def test_postgres_writes_a_moment_as_the_codec_does(acme: World, year: int) -> None:
    moment = datetime(year, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)
    spelled = canonical(Column("at", None, True, "timestamptz"))
    with acme.engine.connect() as connection:
        asked = f"SELECT {spelled} FROM (SELECT CAST(:moment AS timestamptz)) l (at)"  # noqa: S608
        found = connection.execute(text(asked), {"moment": moment}).scalar_one()
    assert found == DateTime().from_postgres(moment.isoformat(), Directory())


def test_a_lead_that_vanished_unnoticed_is_drift_until_it_is_back(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    unnoticed(acme, "DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    told = report(acme)
    assert told["without_lead"] == 1
    assert len(unexplained(told)) == 1
    sweep(acme)
    assert report(acme)["without_lead"] == 0


def test_a_lead_without_a_record_is_drift_until_the_deletions_know_of_it(acme: World) -> None:
    insert(acme, "recNobodyHasMe000")
    told = report(acme)
    assert (told["not_in_airtable"], told["missing"]) == (1, 0)
    assert len(unexplained(told)) == 1
    acme.sql(
        "INSERT INTO reconciler.tombstone "
        "(client_id, record_id, lead_id, created_time, state, listings, reason) "
        "SELECT client_id, airtable_record_id, id, now(), 'awaiting_approval', 2, 'no record' "
        "FROM leads WHERE airtable_record_id = 'recNobodyHasMe000'"
    )
    told = report(acme)
    assert (told["not_in_airtable"], told["missing"], told["deletions_pending"]) == (0, 1, 1)
    assert told["leads"]["airtable"] == 30


def test_a_missing_lead_that_is_gone_from_postgres_too_is_accounted_for(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    acme.sandbox.delete(record_id)
    sweep(acme)
    assert states(acme) == {record_id: "missing"}
    unnoticed(acme, "DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    told = report(acme)
    assert (told["missing"], told["without_lead"]) == (1, 0)


def test_quarantine_is_counted_by_field_and_whole_leads_apart(acme: World) -> None:
    first, second, third = sorted(acme.sandbox.records())[:3]
    with acme.engine.begin() as connection:
        cells = [(first, "notes"), (second, "notes"), (second, "company"), (third, WHOLE_LEAD)]
        refusals = [Refusal(record, field, "to_airtable", "no") for record, field in cells]
        put(connection, acme.pair, refusals)
    told = report(acme)
    assert (told["quarantine"], told["quarantined_leads"]) == (4, 1)
    assert told["quarantine_by_field"] == {"notes": 2, "company": 1}
    unnoticed(acme, "UPDATE leads SET title = 'unnoticed', company = 'unnoticed'")
    told = report(acme)
    assert told["differing_fields"]["title"] == 30
    assert {line.split()[0] for line in unexplained(told)} == {"title", "company"}
    unnoticed(
        acme,
        "UPDATE leads SET title = b.fields ->> 'title', company = b.fields ->> 'company' "
        "FROM reconciler.baseline b WHERE b.record_id = airtable_record_id "
        "AND airtable_record_id NOT IN (:second, :third)",
        second=second,
        third=third,
    )
    assert [line.split()[0] for line in unexplained(report(acme))] == ["title"]


def ran(acme: World, run_id: str, state: str, message: str | None = None, **found: Any) -> None:
    with acme.engine.begin() as connection:
        of = (connection, acme.client.id, run_id)
        runs.start(*of, "delta", "changed", answers_requests=False)
        runs.add_findings(*of, found)
        runs.finish(*of, state=state, message=message)


def test_a_dry_run_is_no_success_and_hides_no_failure(acme: World) -> None:
    assert (report(acme)["last_success_at"], report(acme)["last_failure"]) == (None, None)
    ran(acme, "dry", "succeeded", dry_run=True)
    assert report(acme)["last_success_at"] is None
    ran(acme, "failed", "failed", "Airtable was away.")
    ran(acme, "dry again", "succeeded", dry_run=True)
    told = report(acme)
    assert (told["last_success_at"], told["last_failure"]) == (None, "Airtable was away.")
    ran(acme, "well", "succeeded")
    told = report(acme)
    assert told["last_success_at"] is not None
    assert told["last_failure"] is None
