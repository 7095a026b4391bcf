"""A schedule's tick, as the daemon does it: with a code server, and by its own functions."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import dagster._daemon
import pytest
import yaml
from dagster._core.code_pointer import CodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._scheduler import scheduler

from reconciler_dagster.config import project_file
from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.submission import LOCATION, MODULE, Submission
from reconciler_dagster_tests.adopted import ADOPT
from reconciler_dagster_tests.deployment import Deployment, deployed

CLIENTS = 4
NAME = "every_15_minutes"
FIRST = datetime(2026, 11, 24, 12, 8, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


class Daemon:
    """The schedules' part of it, at whatever time it is said to be."""

    def __init__(self, home: Path, held: ExitStack) -> None:
        target = ModuleTarget(
            MODULE, attribute=None, working_directory=None, location_name=LOCATION
        )
        self.instance = held.enter_context(dg.DagsterInstance.from_config(str(home)))
        self._context = held.enter_context(WorkspaceProcessContext(self.instance, target))

    def looks(self, now: datetime) -> list[str]:
        """Once. Returns what went wrong."""
        found = scheduler.launch_scheduled_runs(
            self._context, logging.getLogger("test"), now, iteration_times={}, max_tick_retries=3
        )
        return [str(error) for error in found if error is not None]

    def tick(self) -> Any:
        """The latest of the schedule."""
        (state,) = (
            state
            for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
            if state.instigator_name == NAME
        )
        (tick,) = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        return tick

    def runs(self, now: datetime) -> list[dg.DagsterRun]:
        """Of the tick at that time."""
        moment = now.replace(minute=now.minute // 15 * 15, second=0).isoformat()
        tags = {"dagster/schedule_name": NAME, ".dagster/scheduled_execution_time": moment}
        return list(self.instance.get_runs(dg.RunsFilter(tags=tags)))


@pytest.fixture(scope="module")
def host() -> Iterator[Deployment]:
    with deployed() as own:
        for n in range(1, CLIENTS):
            own.sql(
                "INSERT INTO clients (company_name, airtable_base_id) VALUES (%s, %s)",
                f"Client {n}",
                f"appOther{n:09d}",
            )
        own.sql(ADOPT)
        yield own


@pytest.fixture(scope="module")
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def daemon(host: Deployment, held: ExitStack) -> Daemon:
    patch = held.enter_context(pytest.MonkeyPatch.context())
    for name, value in host.environment.items():
        patch.setenv(name, value)
    own = Daemon(dagster_home(), held)
    assert own.looks(FIRST) == []  # it learns of the schedules
    return own


@pytest.fixture(scope="module")
def ordinary(host: Deployment, daemon: Daemon, held: ExitStack, tmp_path_factory: Any) -> Daemon:
    """One that creates the runs itself, since they are to run in containers, say."""
    home: Path = tmp_path_factory.mktemp("ordinary")
    content = yaml.safe_load(project_file("dagster.yaml").read_text())
    content["run_launcher"] = {"module": "dagster", "class": "DefaultRunLauncher"}
    (home / "dagster.yaml").write_text(yaml.safe_dump(content))
    return Daemon(home, held)


def test_the_runs_are_there_before_the_daemon_creates_one_and_are_what_it_would_create(
    daemon: Daemon, ordinary: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = FIRST + QUARTER
    monkeypatch.setattr(scheduler, "_create_scheduler_run", _not_wanted)
    assert daemon.looks(now) == []
    ours = daemon.runs(now)
    assert {run.status for run in ours} == {dg.DagsterRunStatus.QUEUED}
    assert len({run.tags["dagster/partition"] for run in ours}) == len(ours) == CLIENTS
    # The tick knows what it has started.
    tick = daemon.tick()
    assert tick.status is TickStatus.SUCCESS
    assert set(tick.run_ids) == {run.run_id for run in ours}
    assert {run.tags["dagster/tick"] for run in ours} == {str(tick.tick_id)}

    # No run could start before all of them were there.
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    queued = dg.DagsterEventType.PIPELINE_ENQUEUED
    assert max(_moments(daemon, ours, planned)) <= min(_moments(daemon, ours, queued))

    # A second look at the same time starts nothing.
    assert daemon.looks(now + timedelta(minutes=1)) == []
    assert len(daemon.runs(now)) == CLIENTS

    monkeypatch.undo()
    later = now + QUARTER
    assert ordinary.looks(later) == []
    theirs = ordinary.runs(later)
    assert len(theirs) == CLIENTS
    one, other = min(ours, key=_client), min(theirs, key=_client)
    varying = {"dagster/tick", "dagster/run_key", ".dagster/scheduled_execution_time"}
    assert {k: v for k, v in one.tags.items() if k not in varying} == {
        k: v for k, v in other.tags.items() if k not in varying
    }
    for name in (
        *("job_name", "job_snapshot_id", "run_config", "remote_job_origin"),
        *("step_keys_to_execute", "asset_selection", "asset_check_selection"),
    ):
        assert getattr(one, name) == getattr(other, name), name
    plans = [
        daemon.instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id or "")
        for run in (one, other)
    ]
    assert plans[0].steps == plans[1].steps
    events = [
        sorted(str(entry.dagster_event_type) for entry in daemon.instance.all_logs(run.run_id))
        for run in (one, other)
    ]
    assert events[0] == events[1]


def _moments(daemon: Daemon, runs: list[dg.DagsterRun], kind: dg.DagsterEventType) -> list[float]:
    found = [e.timestamp for run in runs for e in daemon.instance.all_logs(run.run_id, kind)]
    assert len(found) >= len(runs)
    return found


def _client(run: dg.DagsterRun) -> str:
    return run.tags["dagster/partition"]


def _not_wanted(*_: object) -> None:
    raise AssertionError("the daemon creates a run itself")


@pytest.mark.parametrize("noted", [0, 2])
def test_a_tick_that_was_broken_off_starts_nobody_twice(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, noted: int
) -> None:
    """As when the daemon is killed: before it has noted a run, or in the middle of it. Meanwhile
    one run has ended; of the others one was never written, and one is not queued.
    """
    now = FIRST + (3 + noted) * QUARTER
    real, seen = scheduler._get_existing_run_for_request, []

    def broken(*arguments: Any) -> Any:
        if arguments[1].name == NAME:  # others are due too, and the order is a matter of chance
            seen.append(arguments)
        if len(seen) > noted:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(scheduler, "_get_existing_run_for_request", broken)
    with pytest.raises(KeyboardInterrupt):
        daemon.looks(now)
    monkeypatch.undo()
    created = daemon.runs(now)
    assert len(created) == CLIENTS
    assert daemon.tick().status is TickStatus.STARTED
    daemon.instance.delete_run(created[0].run_id)
    daemon.instance.report_run_failed(created[1], "the test")
    daemon.instance.delete_run(created[2].run_id)
    daemon.instance.add_run(created[2].with_status(dg.DagsterRunStatus.NOT_STARTED))

    assert daemon.looks(now + timedelta(minutes=1)) == []
    runs = daemon.runs(now)
    assert len({_client(run) for run in runs}) == len(runs) == CLIENTS
    assert daemon.tick().status is TickStatus.SUCCESS
    assert set(daemon.tick().run_ids) == {run.run_id for run in runs}
    states = {run.run_id: run.status.value for run in runs}
    assert states.pop(created[1].run_id) == "FAILURE"
    assert set(states.values()) == {"QUEUED"}


def test_a_run_that_another_run_submits_has_its_code(kept_instance: dg.DagsterInstance) -> None:
    """Where runs start in containers the image is a part of it, and the server's address."""
    pointer = CodePointer.from_module(MODULE, "defs", "/code")
    python = RepositoryPythonOrigin("/python", pointer, container_image="image:1", entry_point=[])
    location = GrpcServerCodeLocationOrigin("code", port=4000, location_name=LOCATION)
    repository = RemoteRepositoryOrigin(location, "__repository__")
    glance = dg.DagsterRun(
        "glance",
        job_code_origin=JobPythonOrigin("glance", python),
        remote_job_origin=RemoteJobOrigin(repository, "glance"),
    )
    kept_instance.add_dynamic_partitions("client", ["somebody"])
    run = Submission(kept_instance, "sync", {}, like=glance).create_new("somebody", "key", {})
    assert run.job_code_origin == JobPythonOrigin("sync", python)
    assert run.remote_job_origin == RemoteJobOrigin(repository, "sync")


def test_whoever_only_looks_what_a_tick_would_do_starts_nothing(daemon: Daemon) -> None:
    """As the UI does, and a test; where there has been a real tick before."""
    assert daemon.looks(FIRST + 10 * QUARTER) == []
    before = daemon.instance.get_runs_count()
    repository = defs.get_repository_def()
    for log_key in (None, ["__repository__", NAME, "20261124_120000"]):
        context = dg.build_schedule_context(
            instance=daemon.instance,
            repository_def=repository,
            scheduled_execution_time=FIRST + 20 * QUARTER,
        )
        context._log_key = log_key  # type: ignore[attr-defined]  # by the UI's code server
        requests = repository.get_schedule_def(NAME).evaluate_tick(context).run_requests
        assert len(requests or []) == CLIENTS
    assert daemon.instance.get_runs_count() == before


def test_what_the_daemon_finds_a_run_by_is_what_it_was() -> None:
    """An upgrade that looks for other tags would start everybody twice."""
    source = inspect.getsource(scheduler._get_existing_run_for_request)
    for word in ("tags_for_schedule", "SCHEDULED_EXECUTION_TIME_TAG", "RUN_KEY_TAG"):
        assert word in source
    assert "get_selector_id" in source


RUN = """
import json, sys
from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.warm.parent import preload
preload()
before = set(sys.modules)
internals.execute_run(sys.argv[1], sys.argv[2])
late = {name for name in set(sys.modules) - before if name.partition(".")[0] in sys.argv[3:]}
print("imported late:", json.dumps(sorted(late)))
"""


def test_what_a_run_of_a_tick_needs_is_imported_by_the_warm_parent(
    host: Deployment, daemon: Daemon
) -> None:
    """A run that imports for itself does so a thousand times a quarter of an hour."""
    now = FIRST + 30 * QUARTER
    assert daemon.looks(now) == []
    ((acme,),) = host.sql("SELECT id::text FROM clients WHERE company_name = 'Acme'")
    (run,) = (run for run in daemon.runs(now) if _client(run) == acme)
    starting = dg.DagsterEvent("PIPELINE_STARTING", run.job_name)
    daemon.instance.report_dagster_event(starting, run_id=run.run_id)
    watched = ("dagster", "dagster_postgres", "reconciler_dagster", "pyairtable")
    watched = (*watched, "sqlalchemy", "psycopg", "psycopg2", "fsspec", "upath")
    reference = internals.reference(daemon.instance)
    done = subprocess.run(
        [sys.executable, "-c", RUN, run.run_id, reference, *watched],
        capture_output=True,
        text=True,
        check=True,
    )
    found = daemon.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.SUCCESS, done.stderr
    assert done.stdout.splitlines()[-1] == "imported late: []"
