"""The rolling audit: within its calls, the stalest first, all of the base within a cycle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler_dagster_tests.windows import audited, inactive, next_hour, states
from reconciler_dagster_tests.world import World, world


@pytest.fixture
def large(portal_db: str) -> Iterator[World]:
    """2,000 leads, and calls for 500 an hour: four hours a cycle."""
    with world(portal_db, leads=2000) as here:
        here.settings.audit_calls_per_hour = 5
        here.sync()
        here.sql("UPDATE reconciler.baseline SET verified_at = '2026-01-01'")
        yield here


def test_a_formula_reaches_postgres_within_one_cycle_of_the_computed_length(large: World) -> None:
    changed = sorted(large.sandbox.records())[::97]
    for record_id in changed:
        large.sandbox.override(record_id, "ICP Score", 95)
    large.assert_quiet()
    hours = 0
    while large.value(
        "SELECT count(*) FROM leads WHERE icp_score <> 95 AND airtable_record_id = ANY(:ids)",
        ids=changed,
    ):
        out, counts = audited(large)
        assert counts.airtable_calls <= 5
        assert out.cycle_hours == 4
        hours += 1
        next_hour(large)
    assert 1 < hours <= 4
    large.assert_converged()


def test_the_whole_base_is_proved_within_a_cycle(large: World) -> None:
    for _ in range(4):
        audited(large)
        next_hour(large)
    stale = "SELECT count(*) FROM reconciler.baseline WHERE verified_at < '2026-06-01'"
    assert large.value(stale) == 0


def test_nothing_where_the_calls_are_spent(large: World) -> None:
    audited(large)
    out, counts = audited(large)
    assert (out.windows, counts.airtable_calls) == ([], 0)


def test_a_small_base_is_proved_once_an_hour_and_not_over_and_over(acme: World) -> None:
    out, counts = audited(acme)
    assert (len(out.windows), out.listed, counts.airtable_calls) == (1, 40, 1)


def test_no_base_no_audit(portal_db: str) -> None:
    with world(portal_db) as here:
        out, counts = audited(here)
        assert (out.windows, counts.airtable_calls) == ([], 0)


def test_an_absence_is_looked_at_again_in_the_next_hour(large: World) -> None:
    record_id = large.value(
        "SELECT record_id FROM reconciler.baseline ORDER BY created_time LIMIT 1"
    )
    large.sandbox.delete(record_id)
    audited(large)
    assert (states(large), inactive(large)) == ({record_id: "missing"}, set())
    next_hour(large)
    audited(large)
    assert (states(large), inactive(large)) == ({record_id: "deleted"}, {record_id})


def test_a_record_that_a_delta_found_gone_is_looked_at_first(large: World) -> None:
    record_id = large.value(
        "SELECT record_id FROM reconciler.baseline ORDER BY created_time DESC LIMIT 1"
    )
    large.sandbox.delete(record_id)
    large.update(record_id, notes="cannot be sent")
    large.sync()
    for _ in range(2):
        audited(large)
        next_hour(large)
    assert inactive(large) == {record_id}


def test_a_third_of_the_base_gone_is_not_deleted_by_the_audit_either(large: World) -> None:
    for record_id in sorted(large.sandbox.records())[::3]:
        large.sandbox.delete(record_id)
    doubts: list[str] = []
    for _ in range(6):
        doubts += audited(large)[0].doubts
        next_hour(large)
    assert inactive(large) == set()
    assert "wait for a person" in doubts[0]


def test_the_audit_does_not_empty_cells_of_a_large_part_of_the_base(large: World) -> None:
    large.sql("UPDATE leads SET notes = NULL, hrq_status = NULL, processing_status = NULL")
    before = large.sandbox.records()
    out, counts = audited(large)
    assert "Nothing was written" in out.braked[0]
    assert counts.remote_writes == 0
    assert large.sandbox.records() == before


def test_windows_that_each_see_a_part_of_an_accident_do_not_let_it_through(large: World) -> None:
    """A twentieth of the base is allowed; each window of a quarter of it sees less than that."""
    tenth = sorted(large.sandbox.records())[::10]
    large.sandbox.edit_many({record_id: {"Notes": "stays"} for record_id in tenth})
    large.sync()
    large.sql("UPDATE leads SET notes = NULL WHERE airtable_record_id = ANY(:ids)", ids=tenth)
    for _ in range(4):
        out, counts = audited(large)
        assert 10 < out.change_set.cleared_in_airtable < 100
        assert "emptied cells of 200 of 2000 leads" in out.braked[0]
        assert counts.remote_writes == 0
        next_hour(large)
    assert {large.cell(record_id, "Notes") for record_id in tenth} == {"stays"}
