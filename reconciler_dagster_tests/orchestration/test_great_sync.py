"""The Great Sync, the audit and decisions on deletions as runs in a real Dagster instance."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import orjson
import pytest

from reconciler_dagster.core.windows import months_until, unknown_grouped
from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration.audit import every_hour
from reconciler_dagster.orchestration.execute import audit_clients, decide_deletions
from reconciler_dagster.orchestration.great_sync import Choice, sync_windows
from reconciler_dagster.orchestration.windows import RECONCILED_WINDOWS, WINDOWS, WindowConfig
from reconciler_dagster.postgres import windows as known
from reconciler_dagster_tests.windows import inactive, next_hour, states, sweep
from reconciler_dagster_tests.world import ANN, World, world

CLI = "from reconciler_dagster.cli import main; main()"
Quiet = list[tuple[int, int]]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as real:
        yield real


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(portal_db, leads=240) as here:
        monkeypatch.setenv("DATABASE_URL", portal_db)
        monkeypatch.setenv("AIRTABLE_API_KEY", here.sandbox.token)
        monkeypatch.setenv("AIRTABLE_ENDPOINT_URL", here.sandbox.url)
        yield here


def great_sync(acme: World, instance: dg.DagsterInstance, **choice: object):  # type: ignore[no-untyped-def]
    told: Quiet = []
    (result,) = sync_windows(
        acme.settings,
        instance,
        None,
        Choice(**choice),  # type: ignore[arg-type]
        lambda client, done, windows, counts: told.append((done, windows)),
    )
    return result, told


def failed_checks(instance: dg.DagsterInstance) -> dict[str, str]:
    """Name and description of the checks that failed, of all runs."""
    records = instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION), limit=500
    )
    found = [r.event_log_entry.dagster_event.event_specific_data for r in records]  # type: ignore[union-attr]
    return {e.check_name: e.description or "" for e in found if not e.passed}


def test_every_window_is_a_run_and_a_delta_goes_on_from_there(
    acme: World, instance: dg.DagsterInstance
) -> None:
    result, told = great_sync(acme, instance)
    assert result.attention == []
    assert (result.counts.pulled, result.counts.local_writes) == (240, 240)
    runs = instance.get_runs()
    assert told == [(n, len(runs)) for n in range(len(runs) + 1)]
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    partitions = instance.get_materialized_partitions(RECONCILED_WINDOWS)
    assert len(partitions) == len(months_until(datetime.now(UTC)))
    assert result.counts.airtable_calls == len(acme.sandbox.calls())
    acme.assert_converged()
    acme.assert_quiet()  # the cursor stands before the first listing
    again, _ = great_sync(acme, instance)
    assert (again.counts.pulled, again.counts.local_writes, again.counts.remote_writes) == (
        240,
        0,
        0,
    )
    assert again.counts.airtable_calls == 3


def test_a_dry_run_writes_nothing_and_tells_all(acme: World, instance: dg.DagsterInstance) -> None:
    result, _ = great_sync(acme, instance, config=WindowConfig(dry_run=True))
    assert result.change_set["inserts"] == 240
    for table in ("public.leads", "reconciler.baseline", "reconciler.staged_record"):
        assert acme.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - named above
    assert acme.value("SELECT count(*) FROM reconciler.month_listing") == 0


def test_months_are_chosen_whole(acme: World, instance: dg.DagsterInstance) -> None:
    day = datetime(2026, 5, 17, tzinfo=UTC)
    result, _ = great_sync(acme, instance, start=day, end=day)
    created = [record["createdTime"] for record in acme.sandbox.records().values()]
    in_may = sum(moment.startswith("2026-05") for moment in created)
    assert result.counts.pulled == in_may > 0
    assert acme.value("SELECT count(*) FROM reconciler.cursor") == 0


def test_the_brake_stops_the_writing_of_a_window(acme: World, instance: dg.DagsterInstance) -> None:
    acme.sync()
    for record_id in acme.sandbox.records():
        acme.sandbox.edit(record_id, {"Notes": "a note that stays"})
    acme.sync()
    acme.sql("UPDATE leads SET notes = NULL")
    acme.sandbox.reset_calls()
    result, _ = great_sync(acme, instance)
    assert any("would empty cells of" in why for why in result.attention)
    assert {call["method"] for call in acme.sandbox.calls()} <= {"GET", "POST"}
    assert "window_clear_brake" in failed_checks(instance)
    allowed, _ = great_sync(acme, instance, config=WindowConfig(allow_mass_clear=True))
    assert allowed.counts.remote_writes == 240
    acme.assert_converged()


def test_a_third_of_the_base_gone_turns_the_check_red_and_a_person_decides(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sync()
    gone = sorted(acme.sandbox.records())[::3]
    for record_id in gone:
        acme.sandbox.delete(record_id)
    great_sync(acme, instance)
    result, _ = great_sync(acme, instance)
    assert inactive(acme) == set()
    assert (result.counts.deletions, result.counts.deletions_pending) == (0, 80)
    assert any("are missing from Airtable" in why for why in result.attention)
    assert "are missing from Airtable" in failed_checks(instance)["window_deletions"]
    (kept,) = decide_deletions(acme.settings, instance, None, "reject", gone[:1], "Ann")
    assert (kept.counts.deletions, kept.counts.deletions_pending) == (0, 79)
    (done,) = decide_deletions(acme.settings, instance, None, "approve", None, "Ann")
    assert (done.counts.deletions, done.counts.deletions_pending) == (79, 0)
    assert inactive(acme) == set(gone[1:])
    assert states(acme)[gone[0]] == "rejected"


def test_the_audit_repairs_and_its_checks_are_green(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sync()
    record_id = min(acme.sandbox.records())
    acme.sandbox.override(record_id, "ICP Score", 94)
    (result,) = audit_clients(acme.settings, instance, None)
    assert (result.attention, result.counts.local_writes) == ([], 1)
    assert acme.lead(record_id)["icp_score"] == 94
    assert failed_checks(instance) == {}
    acme.sql(
        "UPDATE reconciler.baseline SET verified_at = '2026-01-01' WHERE record_id = :id",
        id=record_id,
    )
    acme.sql("UPDATE reconciler.call_log SET calls = 1000 WHERE purpose = 'audit'")
    audit_again = next(audit_clients(acme.settings, instance, None))
    assert audit_again.counts.airtable_calls == 0
    assert "the stalest lead was verified" in failed_checks(instance)["proof_is_fresh"]
    next_hour(acme)


def test_the_hourly_schedule_starts_one_audit_a_client(
    acme: World, instance: dg.DagsterInstance
) -> None:
    tick = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(2026, 11, 24, 12, 7, tzinfo=UTC)
    )
    requests = list(every_hour(tick))
    assert [request.partition_key for request in requests] == [acme.client.id]  # type: ignore[union-attr]
    assert {request.tags["reconciler/purpose"] for request in requests} == {"audit"}  # type: ignore[union-attr]


def test_new_clients_and_months_are_partitions(acme: World, instance: dg.DagsterInstance) -> None:
    great_sync(acme, instance, end=datetime(2022, 1, 1, tzinfo=UTC))
    keys = WINDOWS.get_partition_keys(dynamic_partitions_store=instance)
    months = months_until(datetime.now(UTC))
    assert keys == [f"{acme.client.id}|{month}" for month in months]


def test_a_run_takes_one_client(acme: World, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("client", [acme.client.id, "other"])
    result = defs.resolve_job_def("great_sync").execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": f"{acme.client.id}|2026-01-01",
            "dagster/asset_partition_range_end": "other|2026-01-01",
        },
        raise_on_error=False,
    )
    assert not result.success


def portal_rows(acme: World) -> list[str]:
    """Half of the records as leads with claims and notes that Airtable may lack."""
    half = sorted(acme.sandbox.records())[::2]
    acme.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
        "claimed_by, notes) SELECT :client, r, 'Old', 'Name', '', :ann, 'Note of ' || r "
        "FROM unnest(CAST(:ids AS text[])) AS r",
        client=acme.client.id,
        ann=acme.user(ANN),
        ids=half,
    )
    return half


def test_a_great_sync_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(
    acme: World, tmp_path: Path
) -> None:
    half = portal_rows(acme)
    before = acme.sandbox.records()
    environment = os.environ | {
        "RECONCILER_STATE_DIR": str(tmp_path),
        "RECONCILER_CALLS_PER_SECOND": "5",
    }
    command = [sys.executable, "-c", CLI, "great-sync", "--json"]
    kills, random_ = 0, random.Random(4)
    for _ in range(2):
        calls = len(acme.sandbox.calls())
        after = random_.randint(6, 20)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            while process.poll() is None and len(acme.sandbox.calls()) < calls + after:
                time.sleep(0.05)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
    assert kills
    unfinished = acme.value("SELECT finished_at IS NULL FROM reconciler.great_sync")
    done = acme.sql("SELECT month, reconciled_at FROM reconciler.month_listing")
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    assert ended.returncode == 0
    assert orjson.loads(ended.stdout)["clients"]
    if unfinished:  # what was done was not done again
        after = acme.sql("SELECT month, reconciled_at FROM reconciler.month_listing")
        assert set(done) <= set(after)
    again = sweep(acme)
    assert (again.counts.local_writes, again.counts.remote_writes) == (0, 0)
    assert again.window.absent == []
    after_all = acme.sandbox.records()
    for record_id in half:
        notes = before[record_id]["fields"].get("Notes") or f"Note of {record_id}"
        assert acme.lead(record_id)["notes"] == notes == after_all[record_id]["fields"]["Notes"]
    written = acme.sql(
        "SELECT record_id, field FROM reconciler.history WHERE side = 'airtable' "
        "GROUP BY record_id, field HAVING count(DISTINCT new_value) > 1"
    )
    assert written == []


def test_a_killed_great_sync_leaves_only_what_is_left(acme: World) -> None:
    months = months_until(datetime.now(UTC))
    first = unknown_grouped(months)[0]
    with acme.engine.begin() as connection:
        known.left_of_great_sync(connection, acme.client.id, months, afresh=False)
    with acme.engine.begin() as connection:
        now = datetime.now(UTC)
        known.note_months(connection, acme.client.id, first, now, now)
        left = known.left_of_great_sync(connection, acme.client.id, months, afresh=False)
        assert left == [month for month in months if month not in first]
        all_again = known.left_of_great_sync(connection, acme.client.id, months, afresh=True)
        assert all_again == months
