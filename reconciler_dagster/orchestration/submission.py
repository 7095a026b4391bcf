"""Runs as Dagster's daemon would create them, without a code server that is asked for the plan of
each; and the private parts of Dagster that this leans on.

`reconciler_dagster_tests/orchestration/test_submission.py` fails when an upgrade moves one.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.execution.api import create_execution_plan
from dagster._core.origin import (
    DEFAULT_DAGSTER_ENTRY_POINT,
    JobPythonOrigin,
    RepositoryPythonOrigin,
)
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.snap import snapshot_from_execution_plan
from dagster._core.storage.tags import (
    PARTITION_NAME_TAG,
    RUN_KEY_TAG,
    SCHEDULE_NAME_TAG,
    SCHEDULED_EXECUTION_TIME_TAG,
    SENSOR_NAME_TAG,
    TICK_ID_TAG,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.orchestration.storage import one_commit

MODULE, LOCATION = "reconciler_dagster.definitions", "reconciler"
# Dagster gives a tick's evaluation 60 s. What is not created by then the daemon creates.
TICK_SECONDS = 40.0
# Runs of which one commit stores what Dagster writes.
TOGETHER = 10
# The second one: it is tried again.
_UNDERWAY = (TickStatus.STARTED, TickStatus.FAILURE)

log = logging.getLogger("reconciler_dagster.submission")


class Submission:
    """Runs of one job. The definitions are those of this process: they are read once.

    ``submitter``: tags of whoever submits them, by which a run is found again. ``repository``:
    where their code is; this process's own unless given. ``like``: a run whose code theirs is.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        job_name: str,
        submitter: Mapping[str, str],
        repository: RemoteRepositoryOrigin | None = None,
        like: dg.DagsterRun | None = None,
    ) -> None:
        self._instance, self._submitter = instance, submitter
        own = importlib.import_module(MODULE).defs.get_repository_def()
        self._job = own.get_job(job_name)
        python = RepositoryPythonOrigin(
            sys.executable,
            CodePointer.from_module(MODULE, "defs", os.getcwd()),
            entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
        )
        if like is not None and like.job_code_origin and like.remote_job_origin:
            python = like.job_code_origin.repository_origin  # with the image of its container
            repository = like.remote_job_origin.repository_origin
        self._python_origin = JobPythonOrigin(job_name, python)
        self._origin = RemoteJobOrigin(repository or _here(own.name), job_name)
        plan = create_execution_plan(self._job, instance_ref=instance.get_ref())
        self._plan = snapshot_from_execution_plan(plan, self._job.get_job_snapshot_id())

    def create(self, partition: str, run_key: str, tags: Mapping[str, str]) -> str:
        """Create a run, not yet submitted; one that was left so under this key is taken up again.

        Returns its id.
        """
        by_key = {RUN_KEY_TAG: run_key, **self._submitter}
        left = self._instance.get_runs(dg.RunsFilter(tags=by_key))
        return (left[0] if left else self.create_new(partition, run_key, tags)).run_id

    def keys(self) -> set[str]:
        """Of the runs that there are."""
        runs = self._instance.get_runs(dg.RunsFilter(tags=dict(self._submitter)))
        return {run.tags[RUN_KEY_TAG] for run in runs if RUN_KEY_TAG in run.tags}

    def create_new(
        self,
        partition: str,
        run_key: str,
        tags: Mapping[str, str],
        run_config: Mapping[str, Any] | None = None,
    ) -> dg.DagsterRun:
        """Create a run, not yet submitted, that is known not to be there."""
        return self._instance.create_run(
            job_name=self._job.name,
            run_id=None,
            run_config=run_config,
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={
                **self._job.run_tags,
                **tags,
                PARTITION_NAME_TAG: partition,
                RUN_KEY_TAG: run_key,
                **self._submitter,
            },
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=None,
            execution_plan_snapshot=self._plan,
            job_snapshot=self._job.get_job_snapshot(),
            parent_job_snapshot=self._job.get_parent_job_snapshot(),
            asset_selection=None,
            asset_check_selection=None,
            resolved_op_selection=None,
            op_selection=None,
            remote_job_origin=self._origin,
            job_code_origin=self._python_origin,
            asset_graph=self._job.asset_layer.asset_graph,
        )

    def create_and_queue(self, requests: Sequence[dg.RunRequest], deadline: float) -> list[str]:
        """Create the runs that are not there, and queue them, as far as the time allows
        (``time.monotonic``). Returns the ids of those that were created.

        None starts before all are there, so that they do not take the processor from each other's
        creation.
        """
        from reconciler_dagster.orchestration import internals  # with gRPC, which no run needs

        there = self.keys()
        wanted = [one for one in requests if str(one.run_key) not in there]
        created = list[dg.DagsterRun]()
        for some in in_parts(wanted, TOGETHER):
            if time.monotonic() > deadline:
                break
            with one_commit(self._instance):
                created += [
                    self.create_new(
                        str(one.partition_key), str(one.run_key), one.tags, one.run_config
                    )
                    for one in some
                ]
        for part in in_parts(created, TOGETHER):
            if time.monotonic() > deadline:
                break
            with one_commit(self._instance):
                for run in part:
                    internals.enqueue(self._instance, run)
        return [run.run_id for run in created]


def _here(repository_name: str) -> RemoteRepositoryOrigin:
    target = LoadableTargetOrigin(module_name=MODULE, executable_path=sys.executable)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, LOCATION)
    return RemoteRepositoryOrigin(location, repository_name)


def by_sensor(name: str) -> dict[str, str]:
    """The tags of whatever a sensor submits."""
    return {SENSOR_NAME_TAG: name}


def submit_tick(
    context: dg.ScheduleEvaluationContext, job_name: str, requests: Sequence[dg.RunRequest]
) -> None:
    """Create and queue the runs of a tick here, where the definitions are.

    The daemon, which is handed the requests as ever, asks a code server for the plan of each run,
    and that takes six times as long. But it first looks for a run with the request's key: one that
    is there it notes in the tick, one that is not it creates. So nothing is started twice, whatever
    is killed meanwhile, and whatever fails here is done the ordinary way.
    """
    deadline = time.monotonic() + TICK_SECONDS
    try:
        instance = context.instance
        # Others run in containers, which are told more of the code's place than is known here.
        alone = getattr(instance.run_launcher, "launches_alone", False)
        tick = _underway(context) if alone and requests else None
        if tick is not None:
            submission = Submission(instance, job_name, tick.submitter, tick.repository)
            tag = {TICK_ID_TAG: tick.id}
            submission.create_and_queue(
                [one.with_replaced_attrs(tags={**one.tags, **tag}) for one in requests], deadline
            )
    except Exception:
        log.exception("the daemon creates the runs of this tick one by one")


@dataclass(frozen=True)
class _Tick:
    """``submitter``: the tags by which the daemon looks for the runs of the tick."""

    id: str
    submitter: dict[str, str]
    repository: RemoteRepositoryOrigin


def _underway(context: dg.ScheduleEvaluationContext) -> _Tick | None:
    """The tick that a daemon is at. None where somebody only looks what one would do, as the UI
    does, or a test.
    """
    if not context.log_key:
        return None
    *_, name, tick_id = context.log_key
    instance = context.instance
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
        if state.instigator_name != name:
            continue
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
            if str(tick.tick_id) == tick_id and tick.status in _UNDERWAY:
                moment = context.scheduled_execution_time.astimezone(UTC).isoformat()
                submitter = {SCHEDULE_NAME_TAG: name, SCHEDULED_EXECUTION_TIME_TAG: moment}
                return _Tick(tick_id, submitter, state.origin.repository_origin)
    return None
