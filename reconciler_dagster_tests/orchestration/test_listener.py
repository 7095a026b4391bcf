"""The doorbell: a real listener, with and without a daemon beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from reconciler_dagster.orchestration import doorbell
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.submission import LOCATION, MODULE, Submission, by_sensor
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listener import doorbell as doorbell_of
from reconciler_dagster.postgres.requests import BY_EDITS
from reconciler_dagster_tests.deployment import Deployment, deployed, eventually
from reconciler_dagster_tests.pooler import Pooler

pytestmark = pytest.mark.minutes


@pytest.fixture(scope="module")
def host() -> Iterator[Deployment]:
    """Without a daemon: what is served here is served by the listener."""
    with deployed() as own:
        yield own


@pytest.fixture
def instance(host: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name, value in host.environment.items():
        monkeypatch.setenv(name, value)
    dagster_home()
    with dg.DagsterInstance.get() as own:
        yield own


def word(host: Deployment) -> str:
    with engine(host.database).connect() as connection:
        return doorbell_of(connection).word


def sensor_ticks(instance: dg.DagsterInstance) -> None:
    """What the daemon does every five seconds, with the code server that it would start."""
    target = ModuleTarget(MODULE, attribute=None, working_directory=None, location_name=LOCATION)
    with WorkspaceProcessContext(instance, target) as context:
        errors = list(
            execute_sensor_iteration(
                context,
                logging.getLogger("test"),
                threadpool_executor=None,
                submit_threadpool_executor=None,
            )
        )
    assert [error for error in errors if error is not None] == []


def sensor_ticks_until(instance: dg.DagsterInstance, holds: Callable[[], Any]) -> None:
    """Until something holds: a tick that comes too soon after the last one does nothing."""

    def holds_after_a_tick() -> Any:
        sensor_ticks(instance)
        return holds()

    eventually(holds_after_a_tick)


def the_run_of(host: Deployment, instance: dg.DagsterInstance, request: int) -> dg.DagsterRun:
    (run,) = host.runs_of(instance, request)
    return run


def test_a_request_is_served_at_once_and_without_a_daemon(
    host: Deployment, instance: dg.DagsterInstance
) -> None:
    host.start_listener()
    eventually(lambda: word(host) == "listening")
    request = host.ask()
    eventually(lambda: host.state(request) == "succeeded")
    sensor_ticks(instance)
    assert the_run_of(host, instance, request).tags["reconciler/purpose"] == "manual"
    # When it is ended on purpose, nobody need look after it.
    host.end("listener")
    assert word(host) == "off"


def test_the_run_is_the_one_that_the_sensor_would_have_submitted(
    host: Deployment, instance: dg.DagsterInstance
) -> None:
    of_sensor = host.ask()
    sensor_ticks_until(instance, lambda: host.runs_of(instance, of_sensor))
    theirs = the_run_of(host, instance, of_sensor)
    host.sql("UPDATE reconciler.manual_sync_request SET state = 'failed' WHERE id = %s", of_sensor)

    of_listener = host.ask()
    portal = engine(host.database)
    (wanted,) = doorbell.wanted_runs(portal, instance)
    submission = Submission(instance, "sync", by_sensor(doorbell.MANUAL_SYNC))
    submission.create(wanted.client_id, wanted.run_key, wanted.tags)
    ours = the_run_of(host, instance, of_listener)

    varying = {".dagster/grpc_info", "dagster/tick", "dagster/run_key", doorbell.REQUEST_TAG}
    assert {k: v for k, v in ours.tags.items() if k not in varying} == {
        k: v for k, v in theirs.tags.items() if k not in varying
    }
    for name in (
        *("job_name", "job_snapshot_id", "run_config"),
        *("step_keys_to_execute", "asset_selection", "asset_check_selection"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    plans = [
        instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id or "")
        for run in (ours, theirs)
    ]
    assert plans[0].steps == plans[1].steps
    assert theirs.remote_job_origin is not None
    assert ours.remote_job_origin is not None
    selectors = [
        run.remote_job_origin.repository_origin.get_selector()  # type: ignore[union-attr]
        for run in (ours, theirs)
    ]
    assert selectors[0] == selectors[1]
    # A listener that died before it launched: the sensor finds the run by its key.
    queued = dg.RunsFilter([ours.run_id], statuses=[dg.DagsterRunStatus.QUEUED])
    sensor_ticks_until(instance, lambda: instance.get_runs(queued))
    assert [run.run_id for run in host.runs_of(instance, of_listener)] == [ours.run_id]
    for one in (ours, theirs):
        instance.run_coordinator.cancel_run(one.run_id)
    host.sql("UPDATE reconciler.manual_sync_request SET state = 'failed'")


def test_an_edit_is_in_airtable_without_anybody_asking(host: Deployment) -> None:
    host.start_listener(RECONCILER_ON_EDIT="1")
    first = host.ask()
    eventually(lambda: host.state(first) == "succeeded")
    (record_id,) = host.sql(
        "UPDATE leads SET notes = 'rings' WHERE id = (SELECT id FROM leads ORDER BY id LIMIT 1) "
        "RETURNING airtable_record_id"
    )[0]
    eventually(lambda: host.sandbox.record(record_id)["fields"].get("Notes") == "rings")
    eventually(
        lambda: (
            host.sql(
                "SELECT requested_by, state FROM reconciler.manual_sync_request WHERE id > %s",
                first,
            )
            == [(BY_EDITS, "succeeded")]
        )
    )
    host.kill("listener")


def test_behind_a_pooler_in_transaction_mode_it_knows_that_it_is_deaf(host: Deployment) -> None:
    with Pooler(host.postgres) as pooler:
        host.start_listener(DATABASE_URL=pooler.url("portal"))
        request = host.ask()
        eventually(lambda: host.state(request) == "succeeded")
        assert word(host) == "deaf"
        host.kill("listener")


def test_the_command_line_ends_it_well(host: Deployment) -> None:
    listener = host.start_listener(command=True)
    host.end("listener")
    assert listener.returncode == 0
    assert word(host) == "off"


def test_while_dagster_s_postgres_is_away_it_waits(
    host: Deployment, instance: dg.DagsterInstance
) -> None:
    listener = host.start_listener()
    log = host.folder / "listener.log"
    told = log.read_text().count("connecting again")
    host.sql("ALTER DATABASE dagster ALLOW_CONNECTIONS false")
    try:
        host.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dagster'")
        request = host.ask()
        eventually(
            lambda: log.read_text().count("connecting again") > told or listener.poll() is not None
        )
        assert listener.poll() is None
    finally:
        host.sql("ALTER DATABASE dagster ALLOW_CONNECTIONS true")
    eventually(lambda: host.state(request) == "succeeded")
    assert listener.poll() is None
    host.end("listener")
