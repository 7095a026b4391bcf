"""The Great Sync, the audit and decisions on deletions as runs in a real Dagster instance."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
import pytest

from reconciler_dagster.cli.results import show
from reconciler_dagster.core.windows import months_until, unknown_grouped
from reconciler_dagster.orchestration.audit import every_hour
from reconciler_dagster.orchestration.execute import audit_clients, decide_deletions
from reconciler_dagster.orchestration.partitions import WINDOWS
from reconciler_dagster.orchestration.reconciled_windows import RECONCILED_WINDOWS
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.crash.busy import Before, end_state
from reconciler_dagster_tests.orchestration.conftest import failed_checks, great_sync, point_at
from reconciler_dagster_tests.processes import has_ended
from reconciler_dagster_tests.windows import inactive, next_hour, states, sweep
from reconciler_dagster_tests.world import ANN, World, world

pytestmark = pytest.mark.minutes

KILLS = 10


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(portal_db, leads=240) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        yield here


def test_every_window_has_its_run_and_a_delta_goes_on_from_there(
    acme: World, instance: dg.DagsterInstance
) -> None:
    result, told = great_sync(acme, instance)
    assert result.attention == []
    assert (result.counts.pulled, result.counts.local_writes) == (240, 240)
    runs = instance.get_runs()
    done = [windows for windows, _ in told.steps]  # neighbours may share a run
    assert (done[0], len(done), done) == (0, len(runs) + 1, sorted(set(done)))
    assert {of for _, of in told.steps} == {done[-1]}
    assert told.said == []
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


def test_a_first_contact_lists_no_page_twice(
    portal_db: str, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """Nobody knows how many leads a month holds; a page of the base says how to cut it."""
    with world(portal_db, leads=1500) as acme:
        point_at(monkeypatch, portal_db, acme.sandbox)
        result, told = great_sync(acme, instance)
        _, windows = told.steps[-1]
        assert (result.counts.pulled, result.counts.local_writes) == (1500, 1500)
        # One for the metadata, one for the sample; a window's last page is not full.
        assert result.counts.airtable_calls <= 2 + 1500 // 100 + windows
        acme.assert_converged()
        acme.assert_quiet()


def test_a_dry_run_writes_nothing_and_tells_all(acme: World, instance: dg.DagsterInstance) -> None:
    result, _ = great_sync(acme, instance, dry_run=True)
    assert result.change_set["inserts"] == 240
    for table in ("public.leads", "reconciler.baseline", "reconciler.staged_record"):
        assert acme.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - named above
    assert acme.value("SELECT count(*) FROM reconciler.month_listing") == 0


def test_a_dry_run_of_a_first_contact_is_told_by_field(
    acme: World, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    half = portal_rows(acme)
    result, _ = great_sync(acme, instance, dry_run=True)
    show(result, dry_run=True)
    told = capsys.readouterr().out
    assert "would insert 120 leads\n" in told
    filled = sum("First Name" in acme.sandbox.record(r)["fields"] for r in half)
    assert f"would write first_name of {filled} leads in Postgres\n" in told
    assert f"would keep the portal's first_name of {filled} leads in the conflict log\n" in told
    assert "portal's email" not in told  # an empty value that is replaced is no loss
    assert "first_name in postgres: 'Old' ->" in told
    assert "(a new lead) in postgres\n" in told


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
    allowed, _ = great_sync(acme, instance, allow_mass_clear=True)
    assert allowed.counts.remote_writes == 240
    acme.assert_converged()


def test_a_third_of_the_base_gone_turns_the_check_red_and_a_person_decides(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sync()
    gone = sorted(acme.sandbox.records())[::3]
    for record_id in gone:
        acme.sandbox.delete(record_id)
    first, _ = great_sync(acme, instance)
    assert first.counts.deletions_pending == 0
    assert any("Nothing has to be decided yet" in why for why in first.attention)
    result, _ = great_sync(acme, instance)
    assert inactive(acme) == set()
    assert (result.counts.deletions, result.counts.deletions_pending) == (0, 80)
    assert any("trash, then at `reconciler deletions list`" in why for why in result.attention)
    assert any("are missing from Airtable" in why for why in result.attention)
    assert "are missing from Airtable" in failed_checks(instance)["window_deletions"]
    (kept,) = decide_deletions(acme.settings, instance, None, "reject", gone[:1], "Ann")
    assert (kept.counts.deletions, kept.counts.deletions_pending) == (0, 79)
    (done,) = decide_deletions(acme.settings, instance, None, "approve", None, "Ann")
    assert (done.counts.deletions, done.counts.deletions_pending) == (79, 0)
    assert inactive(acme) == set(gone[1:])
    assert states(acme)[gone[0]] == "rejected"


def test_a_listing_that_is_cut_short_deletes_nothing_and_turns_the_check_red(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sync()
    for _ in range(3):  # two complete listings would do to believe a deletion
        acme.sandbox.fault("short_listing", keep=60, method="GET", times=None)
        result, _ = great_sync(acme, instance)
    assert inactive(acme) == set()
    assert (result.counts.deletions, result.counts.deletions_pending) == (0, 0)
    assert states(acme) == {}
    assert any("was cut short" in why for why in result.attention)
    assert "was cut short" in failed_checks(instance)["window_deletions"]


def test_an_empty_base_deletes_nothing_and_turns_the_check_red(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sync()
    for record_id in acme.sandbox.records():
        acme.sandbox.delete(record_id)
    for _ in range(3):
        result, _ = great_sync(acme, instance)
    assert inactive(acme) == set()
    assert result.counts.deletions == 0
    assert any("Nothing was deleted" in why for why in result.attention)
    assert "Nothing was deleted" in failed_checks(instance)["window_deletions"]


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
    acme: World, kept_instance: dg.DagsterInstance
) -> None:
    tick = dg.build_schedule_context(
        instance=kept_instance, scheduled_execution_time=datetime(2026, 11, 24, 12, 7, tzinfo=UTC)
    )
    requests = list(every_hour(tick))
    assert [request.partition_key for request in requests] == [acme.client.id]  # type: ignore[union-attr]
    assert {request.tags["reconciler/purpose"] for request in requests} == {"audit"}  # type: ignore[union-attr]


def test_new_clients_and_months_are_partitions(acme: World, instance: dg.DagsterInstance) -> None:
    great_sync(acme, instance, end=datetime(2022, 1, 1, tzinfo=UTC))
    keys = WINDOWS.get_partition_keys(dynamic_partitions_store=instance)
    months = months_until(datetime.now(UTC))
    assert keys == [f"{acme.client.id}|{month}" for month in months]


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


# A process that has imported everything already, and forks one Great Sync for each line it reads.
NURSERY = """
import os, sys
from reconciler_dagster.cli import main
from reconciler_dagster.config import Settings
from reconciler_dagster_tests import program
program.load()
load = Settings.load
Settings.load = lambda: load().model_copy(update={"calls_per_second": 1000})
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["reconciler", "great-sync", "--json"]
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def killed_at_random(acme: World, times: int, chance: random.Random) -> int:
    """Start Great Syncs and kill -9 each after some calls, until so many were killed; then let
    one end. Returns its exit code.
    """
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        code = -signal.SIGKILL
        while code == -signal.SIGKILL:
            before = len(acme.sandbox.calls())
            nursery.stdin.write("again\n")
            nursery.stdin.flush()
            child = psutil.Process(int(nursery.stdout.readline()))
            if times:
                after = chance.randint(1, 7)
                while not has_ended(child):
                    if len(acme.sandbox.calls()) >= before + after:
                        times -= 1
                        child.kill()
                        break
                    time.sleep(chance.uniform(0, 0.05))
            code = int(nursery.stdout.readline())
        assert times == 0, f"it ended by itself, with {code}, before it could be killed so often"
    return code


def test_a_great_sync_that_is_killed_ten_times_ends_as_if_it_had_not_been(
    postgres_server: PostgresServer,
    portal_db: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ends = []
    with world(portal_db, leads=45 * KILLS) as acme:
        half = portal_rows(acme)
        before, start = Before.of(acme), acme.value("SELECT current_database()")
        acme.engine.dispose()  # a template must have nobody connected
        for kills in (0, KILLS):
            url = postgres_server.create_database(f"kills_{kills}", template=start)
            point_at(monkeypatch, url, acme.sandbox)
            monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / str(kills)))
            before.restore(acme)
            ends.append(end_of_kills(World(url, acme.sandbox), kills, half, before))
            postgres_server.drop_database(f"kills_{kills}")
    undisturbed, killed = ends
    assert killed == undisturbed


def end_of_kills(acme: World, kills: int, half: list[str], before: Before) -> dict[str, object]:
    assert killed_at_random(acme, kills, random.Random(4)) == 0
    after = acme.sandbox.records()
    for record_id in half:
        notes = before.cells[record_id].get("Notes") or f"Note of {record_id}"
        assert notes == acme.lead(record_id)["notes"] == after[record_id]["fields"]["Notes"]
    # No cell was written twice with different values.
    twice = acme.sql(
        "SELECT record_id, field FROM reconciler.history WHERE side = 'airtable' "
        "GROUP BY record_id, field HAVING count(DISTINCT new_value) > 1"
    )
    assert twice == []
    again = sweep(acme)
    assert (again.counts.local_writes, again.counts.remote_writes) == (0, 0)
    assert again.window.absent == []
    return end_state(acme)


def test_what_a_killed_great_sync_had_done_is_not_done_again(acme: World) -> None:
    months = months_until(datetime.now(UTC))
    first = unknown_grouped(months)[0]
    with acme.engine.begin() as connection:
        known.left_of_great_sync(connection, [acme.pair], months, afresh=False)
    with acme.engine.begin() as connection:
        now = datetime.now(UTC)
        known.note_months(connection, acme.pair, first, now, now)
        left = known.left_of_great_sync(connection, [acme.pair], months, afresh=False)
        assert left.months == [month for month in months if month not in first]
        assert left.since is not None
        all_again = known.left_of_great_sync(connection, [acme.pair], months, afresh=True)
        assert all_again == known.MonthsLeft(months)
