"""The job on a real Dagster instance: what runs, what is blocked, what a person sees."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration.assets import run_config
from reconciler_dagster.orchestration.automation import (
    close_dead_runs,
    every_15_minutes,
    manual_sync,
)
from reconciler_dagster.orchestration.execute import sync_clients
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.sync_job import by_itself
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.world import World, world


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(portal_db, leads=60) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        monkeypatch.setenv("RECONCILER_PORTAL_URL", "http://portal.example/")
        yield here


def execute(
    acme: World, instance: dg.DagsterInstance, **config: object
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("sync").execute_in_process(
        run_config=run_config(SyncConfig(**config), log_level="CRITICAL"),
        partition_key=acme.client.id,
        instance=instance,
        raise_on_error=False,
    )


@pytest.fixture
def synced(acme: World, instance: dg.DagsterInstance) -> World:
    instance.add_dynamic_partitions("client", [acme.client.id])
    assert execute(acme, instance).success
    return acme


def test_the_job_by_itself_is_the_one_of_the_definitions() -> None:
    """Else Dagster would tell the command's runs from those of the schedule."""
    ours, theirs = by_itself(), defs.resolve_job_def("sync")
    assert ours.get_job_snapshot_id() == theirs.get_job_snapshot_id()
    assert ours.executor_def is theirs.executor_def


def test_a_run_materialises_every_asset_and_tells_what_it_did(
    synced: World, instance: dg.DagsterInstance
) -> None:
    record_id = min(synced.sandbox.records())
    synced.sandbox.edit(record_id, {"Company": "Seen in the UI"})
    result = execute(synced, instance)
    for key in ("airtable_leads", "postgres_leads", "outbound_change_set", "reconciled_leads"):
        event = instance.get_latest_materialization_event(dg.AssetKey(key))
        assert event is not None
        assert event.run_id == result.run_id
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["client"].value == "Acme"
    change_set = instance.get_latest_materialization_event(dg.AssetKey("outbound_change_set"))
    assert change_set is not None
    assert change_set.asset_materialization is not None
    table = change_set.asset_materialization.metadata["sample of changes"]
    assert isinstance(table, dg.TableMetadataValue)
    rows = [record.data for record in table.records]
    assert [(row["field"], row["new"]) for row in rows] == [("company", "Seen in the UI")]
    outcome = instance.get_latest_materialization_event(dg.AssetKey("reconciled_leads"))
    assert outcome is not None
    assert outcome.asset_materialization is not None
    link = outcome.asset_materialization.metadata["what it changed"].value
    assert link == f"http://portal.example/console/runs/{result.run_id}"
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["reconciler/outcome"] == "ok"
    assert run.tags["reconciler/writes"] == "1 in, 0 out"


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(
    synced: World, instance: dg.DagsterInstance
) -> None:
    first, second = sorted(synced.sandbox.records())[:2]
    synced.sandbox.edit(first, {"Company": "Only looked at"})
    synced.update(second, hrq_status="Archive")
    before = synced.sides()
    cursor = synced.sql("SELECT * FROM reconciler.cursor")
    assert execute(synced, instance, dry_run=True).success
    assert synced.sides() == before
    assert synced.sql("SELECT * FROM reconciler.cursor") == cursor
    (result,) = sync_clients(synced.settings, instance, None, SyncConfig(dry_run=True))
    assert result.change_set["to_postgres"] == {"company": 1}
    assert result.change_set["to_airtable"] == {"hrq_status": 1}
    assert execute(synced, instance).success
    synced.assert_converged()


def test_the_brake_stops_the_push_and_nothing_is_lost(
    synced: World, instance: dg.DagsterInstance
) -> None:
    synced.sql("UPDATE leads SET notes = 'note'")
    assert execute(synced, instance).success
    before = {r: synced.cell(r, "Notes") for r in synced.sandbox.records()}
    synced.sql("UPDATE leads SET notes = NULL")
    result = execute(synced, instance)
    assert not result.success
    assert "apply_and_push.push_op" not in {
        e.step_key for e in result.all_events if e.is_step_success
    }
    assert {r: synced.cell(r, "Notes") for r in synced.sandbox.records()} == before
    message = synced.value("SELECT message FROM reconciler.run_summary WHERE state = 'failed'")
    assert "the portal has emptied cells of 60 of 60 leads" in message
    assert execute(synced, instance, allow_mass_clear=True).success
    assert {synced.cell(r, "Notes") for r in before} == {None}


def test_checks_are_red_while_something_needs_a_person(
    synced: World, instance: dg.DagsterInstance
) -> None:
    record_id = min(synced.sandbox.records())
    synced.update(record_id, hrq_status="Postponed")
    synced.sandbox.delete_field("Company")
    synced.sandbox.edit(record_id, {"Job Title": "x"})
    result = execute(synced, instance)
    passed = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert passed == {
        "mapping": False,
        "clear_brake": True,
        "quarantine": False,
        "answered": True,
    }
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["reconciler/outcome"] == "needs attention"


def test_a_failure_that_explains_itself_is_told_to_the_waiting_request(
    acme: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRTABLE_API_KEY", "patWrong00000000")
    acme.sql("INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients")
    instance.add_dynamic_partitions("client", [acme.client.id])
    assert not execute(acme, instance).success
    state, message = acme.sql("SELECT state, message FROM reconciler.manual_sync_request")[0]
    assert state == "failed"
    assert message.startswith("AIRTABLE_API_KEY is not accepted")
    assert "patWrong" not in message


def test_one_clients_failure_does_not_touch_another(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sql(
        "INSERT INTO clients (company_name, airtable_base_id) "
        "VALUES ('Aardvark', 'appNone0000000000')"
    )
    acme.adopt()
    aardvark, other = sync_clients(acme.settings, instance, None, SyncConfig())
    assert aardvark.misconfigured
    assert "cannot be read with this token" in aardvark.attention[0]
    assert (other.attention, other.counts.local_writes) == ([], 60)


def test_the_schedule_asks_for_one_run_per_active_client(
    acme: World, kept_instance: dg.DagsterInstance
) -> None:
    acme.sql(
        "INSERT INTO clients (company_name, airtable_base_id, is_active) "
        "VALUES ('Sleeping', 'appSleeps00000000', false)"
    )
    context = dg.build_schedule_context(
        instance=kept_instance, scheduled_execution_time=datetime(2026, 11, 24, 12, tzinfo=UTC)
    )
    ticks = list(every_15_minutes(context))
    assert [tick.partition_key for tick in ticks] == [acme.client.id]
    assert kept_instance.get_dynamic_partitions("client") == [acme.client.id]


def test_two_flag_rows_give_one_run_which_marks_both(
    acme: World, instance: dg.DagsterInstance
) -> None:
    for _ in range(2):
        acme.sql("INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients")
    context = dg.build_sensor_context(instance=instance)
    first, again = manual_sync(context).run_requests, manual_sync(context).run_requests
    assert len(first) == 1
    assert [r.run_key for r in first] == [r.run_key for r in again]  # Dagster launches it once
    result = execute(acme, instance)
    rows = acme.sql(
        "SELECT state, run_id, counts ->> 'local_writes' FROM reconciler.manual_sync_request"
    )
    assert rows == [("succeeded", result.run_id, "60")] * 2
    assert isinstance(manual_sync(context), dg.SkipReason)


def test_a_flag_row_of_nobody_is_refused_in_words(
    acme: World, instance: dg.DagsterInstance
) -> None:
    acme.sql("INSERT INTO reconciler.manual_sync_request (client_id) VALUES (gen_random_uuid())")
    manual_sync(dg.build_sensor_context(instance=instance))
    rows = acme.sql("SELECT state, message FROM reconciler.manual_sync_request")
    assert rows == [("failed", "There is no active client with this id.")]


def test_a_request_whose_run_died_is_answered(synced: World, instance: dg.DagsterInstance) -> None:
    """By the sensor on dead runs, or by the next run of the client, whichever comes first."""
    synced.sql(
        "INSERT INTO reconciler.manual_sync_request (client_id, state, run_id) "
        "SELECT id, 'started', 'dead' FROM clients"
    )
    result = execute(synced, instance)
    rows = synced.sql("SELECT state, run_id FROM reconciler.manual_sync_request")
    assert rows == [("succeeded", result.run_id)]


def test_the_sensor_on_dead_runs_closes_the_summary(
    synced: World, instance: dg.DagsterInstance
) -> None:
    run = instance.get_runs(limit=1)[0]
    synced.sql("UPDATE reconciler.run_summary SET state = 'started', finished_at = NULL")
    synced.sql(
        "INSERT INTO reconciler.manual_sync_request (client_id, state, run_id) "
        "SELECT id, 'started', :run_id FROM clients",
        run_id=run.run_id,
    )
    close_dead_runs(dg.build_sensor_context(instance=instance))
    assert synced.value("SELECT state FROM reconciler.run_summary") == "started", "it ended well"
    instance.report_run_failed(run)
    close_dead_runs(dg.build_sensor_context(instance=instance))
    rows = synced.sql("SELECT state, message FROM reconciler.manual_sync_request")
    assert rows == [("failed", "The run died before it could end.")]
    assert synced.value("SELECT count(*) FROM reconciler.run_summary WHERE state = 'started'") == 0
