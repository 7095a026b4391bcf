"""A run goes through what it has pulled in parts, so that memory does not grow with the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reconciler_dagster.core.scope import CHANGED
from reconciler_dagster.engine import diff, listing, push, rounds, windows
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.rehearsal import rehearse_runs
from reconciler_dagster.postgres.staging import StagingLost
from reconciler_dagster_tests.windows import audited, sweep
from reconciler_dagster_tests.world import World, world

# What a restart of Postgres does to staged rows, while connections are made anew without a word.
LOST = "TRUNCATE reconciler.staged_record, reconciler.staged_lead, reconciler.staged_change"


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=23) as one:
        yield one


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parts of five rows; how many each had that was merged."""
    seen: list[int] = []
    load = diff.load

    def counted(*args: object, **more: object) -> diff.Staged:
        staged = load(*args, **more)  # type: ignore[arg-type]
        seen.append(len(staged.records.keys() | staged.leads.keys()))
        return staged

    monkeypatch.setattr(diff, "PART", 5)
    monkeypatch.setattr(diff, "load", counted)
    return seen


def edit_both_sides(acme: World) -> None:
    """Of every third record one side, of some both; one is deleted, and one is new."""
    record_ids = sorted(acme.sandbox.records())
    for record_id in record_ids[::3]:
        acme.update(record_id, notes="from the portal")
    for record_id in record_ids[1::3]:
        acme.sandbox.edit(record_id, {"Company": "from Airtable"})
    acme.update(record_ids[4], company="loses")
    acme.sandbox.edit(record_ids[4], {"Company": "wins"})
    acme.update(record_ids[20], notes="of a record that is gone")
    acme.sandbox.delete(record_ids[20])
    acme.sandbox.add({"First Name": "New"})


def test_in_parts_or_in_one_a_run_does_the_same(acme: World, parts: list[int]) -> None:
    first = acme.sync()
    assert first.counts.local_writes == 23
    assert first.change_set.inserts == 23
    assert max(parts) == 5
    assert len(parts) == 2 * 5  # the diff's, and the push's
    acme.assert_converged()
    edit_both_sides(acme)
    del parts[:]
    ran = acme.sync()
    assert max(parts) <= 5
    assert len(parts) > 4
    assert ran.change_set.conflicts == {"company": 1}
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 1
    gone = acme.sql(
        "SELECT record_id FROM reconciler.quarantine WHERE reason LIKE '%no such record%'"
    )
    assert len(gone) == 1
    remote, local, agreed = acme.sides()
    there = remote.keys()
    assert len(there) == 23
    assert {r: local[r] for r in there} == remote
    assert {r: agreed[r] for r in there} == remote
    assert sum(row["notes"] == "from the portal" for row in remote.values()) == 8


def test_a_dry_run_in_parts_promises_what_the_run_then_does(acme: World, parts: list[int]) -> None:
    acme.sync()
    edit_both_sides(acme)
    dry = acme.session(dry_run=True)
    pull_airtable(dry, CHANGED)
    pull_postgres(dry)
    told = rehearse_runs([dry])["leads"]
    assert max(parts) <= 5
    assert told == acme.sync().change_set


def test_rows_that_postgres_lost_between_two_parts_end_the_run(
    acme: World, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.sync()
    edit_both_sides(acme)
    cursor = acme.sql("SELECT modified_since FROM reconciler.cursor")
    write = push.write_inbound

    def then_lost(*args: object) -> list[str]:
        outbound = write(*args)  # type: ignore[arg-type]
        acme.sql(LOST)
        return outbound

    with monkeypatch.context() as lossy:
        lossy.setattr(push, "write_inbound", then_lost)
        with pytest.raises(StagingLost, match="records are gone: Postgres was restarted"):
            acme.sync()
    assert acme.sql("SELECT modified_since FROM reconciler.cursor") == cursor
    acme.sync()
    remote, local, _ = acme.sides()
    assert {r: local[r] for r in remote} == remote
    assert sum(row["notes"] == "from the portal" for row in remote.values()) == 8


def test_edits_that_postgres_lost_before_they_were_planned_are_not_settled(
    acme: World, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.sync()
    record_ids = sorted(acme.sandbox.records())
    for record_id in record_ids:
        acme.update(record_id, notes="from the portal")
    load = diff.load

    def lost_before(*args: object, **more: object) -> diff.Staged:
        acme.sql("TRUNCATE reconciler.staged_lead, reconciler.staged_change")
        return load(*args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as lossy, pytest.raises(StagingLost), acme.underway():
        lossy.setattr(diff, "load", lost_before)
    assert acme.value("SELECT count(DISTINCT record_id) FROM reconciler.unsettled") == 23
    acme.sync()
    acme.assert_converged()


def test_a_reading_that_postgres_lost_before_it_was_merged_ends_the_push(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.sync()
    edit_both_sides(acme)
    cursor = acme.sql("SELECT modified_since FROM reconciler.cursor")
    load = diff.load

    def lost_before(*args: object, **more: object) -> diff.Staged:
        acme.sql(LOST)
        return load(*args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as lossy, pytest.raises(StagingLost), acme.underway():
        lossy.setattr(rounds, "load", lost_before)
    assert acme.sql("SELECT modified_since FROM reconciler.cursor") == cursor
    acme.sync()
    remote, local, _ = acme.sides()
    assert {r: local[r] for r in remote} == remote


@pytest.mark.parametrize("sweeping", [sweep, audited])
@pytest.mark.parametrize("before", ["load", "write_inbound"])
def test_a_part_of_a_window_that_postgres_lost_is_not_taken_for_proved(
    portal_db: str,
    monkeypatch: pytest.MonkeyPatch,
    sweeping: Callable[[World], object],
    before: str,
) -> None:
    monkeypatch.setattr(listing, "PART", 100)
    with world(portal_db, leads=250) as acme:
        acme.sync()
        acme.sql("UPDATE reconciler.baseline SET verified_at = NULL")
        for record_id in acme.sandbox.records():  # without a trace
            acme.sandbox.override(record_id, "ICP Score", 94)
        step = getattr(windows, before)
        previewed = 3 if before == "load" else 0
        calls = iter(range(100))
        proved = [0]

        def lost_before(*args: Any, **more: object) -> object:
            if next(calls) == previewed:  # the first part that is carried out
                acme.sql(LOST)
                if before == "write_inbound":  # it was read already; how large it is, the pages say
                    proved[0] = len(args[1].records)
            return step(*args, **more)

        with monkeypatch.context() as lossy:
            lossy.setattr(windows, before, lost_before)
            with pytest.raises(StagingLost):
                sweeping(acme)
        count = "SELECT count(verified_at) FROM reconciler.baseline"
        assert acme.value(count) == proved[0] <= 100
        sweeping(acme)
        assert acme.value(count) == 250
        acme.assert_converged()
