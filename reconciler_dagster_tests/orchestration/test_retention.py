"""What has ended is forgotten after a while, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
import pytest

from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration import retention
from reconciler_dagster.orchestration.automation import keep_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.adopted import add_clients


def run_of(
    instance: dg.DagsterInstance, days: float, purpose: str = "delta", status: str = "SUCCESS"
) -> str:
    """A run that began so many days ago."""
    run_id = str(uuid4())
    run = dg.DagsterRun(
        "sync",
        run_id=run_id,
        tags={PURPOSE_TAG: purpose},
        status=dg.DagsterRunStatus(status),
    )
    began = datetime.now(UTC) - timedelta(days=days)
    instance.run_storage.add_historical_run(run, began)
    instance.report_engine_event("something happened", run)
    return run_id


def forget(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("forget_old_runs").execute_in_process(instance=instance)


def test_old_runs_go_with_their_events_and_the_proofs_stay(
    portal_db: str,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", portal_db)
    monkeypatch.setattr(retention, "_BATCH", 3)  # pages
    gone = [run_of(instance, 15) for _ in range(7)]
    gone += [run_of(instance, 15, "audit", "FAILURE"), run_of(instance, 15, "manual", "CANCELED")]
    gone += [run_of(instance, 91, "great_sync")]
    kept = [run_of(instance, 13), run_of(instance, 15, status="STARTED")]
    kept += [run_of(instance, 80, "great_sync") for _ in range(4)]
    assert forget(instance).success
    for run_id in gone:
        assert instance.get_run_by_id(run_id) is None
        assert instance.all_logs(run_id) == []
    for run_id in kept:
        assert instance.get_run_by_id(run_id) is not None
        assert instance.all_logs(run_id) != []


def test_it_ends_when_its_time_is_up_and_goes_on_an_hour_later(
    portal_db: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", portal_db)
    old = run_of(instance, 15)
    monkeypatch.setattr(retention, "BUDGET_SECONDS", -1.0)
    assert forget(instance).success
    assert instance.get_run_by_id(old) is not None
    monkeypatch.undo()
    monkeypatch.setenv("DATABASE_URL", portal_db)
    assert forget(instance).success
    assert instance.get_run_by_id(old) is None


def test_partitions_are_made_outside_of_a_schedules_tick(
    portal_db: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", portal_db)
    own = engine(portal_db)
    with own.begin() as connection:
        add_clients(connection, 1000)
    made = [keep_partitions(dg.build_sensor_context(instance=instance)) for _ in range(2)]
    assert [str(one.skip_message) for one in made] == [  # type: ignore[union-attr]
        "1000 active clients; 1000 partitions were made.",
        "1000 active clients; 0 partitions were made.",
    ]
    assert len(instance.get_dynamic_partitions("client")) == 1000
    own.dispose()
