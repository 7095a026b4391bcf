"""Claims: who holds a lead and since when are carried over together, or wait together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster_tests.world import ANN, BOB, World, world

AT, LATER = "2026-03-01T10:00:00.000Z", "2026-04-01T10:00:00.000Z"
NOBODY = "nobody@nowhere.example"


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=6) as here:
        for record_id in here.sandbox.records():
            here.sandbox.edit(record_id, {"Claimed By": None, "Claimed At": None})
        here.sync()
        yield here


def one(acme: World) -> str:
    return min(acme.sandbox.records())


def there(acme: World, record_id: str) -> tuple[Any, Any]:
    return acme.cell(record_id, "Claimed By"), acme.cell(record_id, "Claimed At")


def here(acme: World, record_id: str) -> tuple[Any, Any]:
    lead = acme.lead(record_id)
    return lead["claimed_by"], lead["claimed_at"]


def refused(acme: World) -> set[str]:
    return {row[0] for row in acme.sql("SELECT field FROM reconciler.quarantine")}


def test_the_time_of_a_holder_who_is_nobody_waits_with_him(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.edit(record_id, {"Claimed By": NOBODY, "Claimed At": AT, "Company": "Goes on"})
    new = acme.sandbox.add({"First Name": "New", "Claimed By": NOBODY, "Claimed At": AT})
    acme.sync()
    assert here(acme, record_id) == here(acme, new) == (None, None)
    assert acme.lead(record_id)["company"] == "Goes on"
    assert refused(acme) == {"claimed_by", "claimed_at"}
    acme.sql("INSERT INTO users (email) VALUES (:mail)", mail=NOBODY)
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    acme.sync()
    assert here(acme, new)[0] == here(acme, record_id)[0] == acme.user(NOBODY)
    assert here(acme, record_id)[1].startswith("2026-03-01T10:00:00")
    assert refused(acme) == set()
    acme.assert_converged()


def test_a_time_without_a_holder_is_carried_over_nowhere(acme: World) -> None:
    first, second, *_ = sorted(acme.sandbox.records())
    acme.sandbox.edit(first, {"Claimed At": AT})
    acme.update(second, claimed_at=AT)
    acme.sync()
    acme.sync(EVERYTHING)
    assert here(acme, first) == (None, None)
    assert there(acme, second) == (None, None)
    acme.assert_converged()
    acme.assert_quiet()


@pytest.mark.parametrize("cascades", [True, False])
def test_a_user_who_is_deleted_leaves_no_half_claim(acme: World, cascades: bool) -> None:
    """By a foreign key that sets null, his leads are free on both sides; without one they wait."""
    record_id = one(acme)
    if not cascades:
        acme.sql("ALTER TABLE leads DROP CONSTRAINT leads_claimed_by_fkey")
    acme.update(record_id, claimed_by=acme.user(ANN), claimed_at=AT)
    acme.sync()
    assert there(acme, record_id) == (ANN, AT)
    acme.sql("DELETE FROM users WHERE email = :mail", mail=ANN)
    acme.update(record_id, notes="afterwards")
    acme.sync()
    assert there(acme, record_id) == ((None, None) if cascades else (ANN, AT))
    assert acme.cell(record_id, "Notes") == "afterwards"
    if cascades:
        acme.assert_quiet()
    # What is left of the claim does not come to life with the next holder, who gives no time.
    acme.sandbox.edit(record_id, {"Claimed By": BOB, "Claimed At": None})
    acme.sync()
    acme.sync()
    if cascades:
        assert here(acme, record_id) == (acme.user(BOB), None)
        assert there(acme, record_id) == (BOB, None)


def test_a_holder_whom_postgres_refuses_takes_his_time_along(acme: World) -> None:
    record_id = one(acme)
    acme.sql(f"ALTER TABLE leads ADD CONSTRAINT not_bob CHECK (claimed_by <> '{acme.user(BOB)}')")
    claim = {"Claimed By": BOB, "Claimed At": AT, "Company": "Goes on"}
    acme.sandbox.edit(record_id, claim)
    new = acme.sandbox.add({"First Name": "New", **claim})
    acme.sync()
    for lead in (record_id, new):
        assert here(acme, lead) == (None, None)
        assert acme.lead(lead)["company"] == "Goes on"
    assert refused(acme) == {"claimed_by", "claimed_at"}
    reasons = acme.sql("SELECT DISTINCT reason FROM reconciler.quarantine ORDER BY 1 DESC")
    assert "waits for Claimed By" in reasons[-1][0]


def test_what_airtable_refuses_of_a_claim_is_refused_whole(acme: World) -> None:
    record_id = one(acme)
    acme.update(record_id, claimed_by=acme.user(ANN), claimed_at=AT, notes="Goes on")
    # The record as a whole, and then the first half of its cells.
    acme.sandbox.fault("status", status=422, method="PATCH", times=2)
    acme.sync()
    assert there(acme, record_id) == (None, None)
    assert acme.cell(record_id, "Notes") == "Goes on"
    assert refused(acme) == {"claimed_by", "claimed_at"}
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    acme.sync()
    assert there(acme, record_id) == (ANN, AT)
    acme.assert_converged()


def test_who_wins_a_claim_wins_its_time(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.edit(record_id, {"Claimed By": ANN, "Claimed At": AT})
    acme.sync()
    acme.sandbox.edit(record_id, {"Claimed By": BOB})
    acme.update(record_id, claimed_at=LATER)
    acme.sync()
    acme.sync()
    assert there(acme, record_id) == (BOB, AT)
    acme.assert_converged()


def test_a_claim_waits_for_a_field_that_is_stopped(acme: World) -> None:
    record_id = one(acme)
    acme.sandbox.delete_field("Claimed By")
    acme.update(record_id, claimed_by=acme.user(ANN), claimed_at=AT)
    acme.session().check_mapping(force=True)
    assert any("'Claimed At' is stopped" in p for p in acme.session().check_mapping().problems)
    acme.sync()
    assert acme.cell(record_id, "Claimed At") is None
