"""The private parts of Dagster that launching leans on, all of them, in one place.

`reconciler_dagster_tests/orchestration/test_internals.py` fails when an upgrade moves one.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from threading import Event, Thread
from typing import Any

import dagster as dg
from dagster._cli.api import _execute_run_command_body
from dagster._cli.utils import get_instance_for_cli
from dagster._core.code_pointer import CodePointer
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.api import create_execution_plan
from dagster._core.instance import InstanceRef
from dagster._core.launcher import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    LaunchRunContext,
    WorkerStatus,
)
from dagster._core.origin import (
    DEFAULT_DAGSTER_ENTRY_POINT,
    JobPythonOrigin,
    RepositoryPythonOrigin,
)
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.snap import snapshot_from_execution_plan
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils import send_interrupt
from dagster._utils.interrupts import capture_interrupts
from dagster._utils.tags import TagConcurrencyLimitsCounter

from reconciler_dagster.orchestration.alive import WARM_TAG, process_of
from reconciler_dagster.processes import number_of

__all__ = [
    "CheckRunHealthResult",
    "DefaultRunLauncher",
    "LaunchRunContext",
    "WorkerStatus",
]

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# How often a run looks whether somebody on another host has asked for its end.
CANCEL_POLL_SECONDS = 5.0


def reference(instance: dg.DagsterInstance) -> str:
    """The instance as text, for `execute_run` in another process."""
    return serialize_value(instance.get_ref())


def execute_run(run_id: str, instance_reference: str) -> bool:
    """What `dagster api execute_run` does, in this process. Returns whether the run has come to an
    end, well or not; raises where the instance cannot be opened.
    """
    reference = deserialize_value(instance_reference, InstanceRef)
    with capture_interrupts(), get_instance_for_cli(instance_ref=reference) as instance:
        with ExitStack() as watched:
            watched.callback(_watch_for_cancel(instance, run_id))
            _execute_run_command_body(run_id, instance, lambda _event: None, False)
        run = instance.get_run_by_id(run_id)
        return run is None or run.is_finished


def _watch_for_cancel(instance: dg.DagsterInstance, run_id: str) -> Callable[[], None]:
    """Interrupt the run once it is to be cancelled: a signal reaches it on its own host alone."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(CANCEL_POLL_SECONDS):
            try:
                run = instance.get_run_by_id(run_id)
            except Exception:  # the storage is away: it is asked again, as long as the run lasts
                continue
            if run is None or run.status is dg.DagsterRunStatus.CANCELING:
                send_interrupt()
                return

    thread = Thread(target=watch, name="watch for cancel", daemon=True)
    thread.start()
    return ended.set


def fail_run(run_id: str, instance_reference: str, process: int, why: str) -> None:
    """Note that a warm process (by its number, of this host) has ended; fails the run, unless that
    had come to its end, or has meanwhile been given to another process.
    """
    reference = deserialize_value(instance_reference, InstanceRef)
    with get_instance_for_cli(instance_ref=reference) as instance:
        run = instance.get_run_by_id(run_id)
        there = process_of(run_id, run.tags, WARM_TAG) if run is not None else None
        if run is None or there is None or number_of(there) != process:
            return
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, why)
        elif not run.is_finished:
            instance.report_run_failed(run, why)


def executable_of(run: dg.DagsterRun) -> str | None:
    """The Python that the run's code was loaded with."""
    origin = run.job_code_origin
    return origin.repository_origin.executable_path if origin else None


def host_of_location(context: LaunchRunContext) -> str | None:
    """The host of the server that the run's code was loaded from; None where it is this one."""
    origin = context.dagster_run.remote_job_origin
    location = origin.repository_origin.code_location_origin if origin else None
    if not isinstance(location, GrpcServerCodeLocationOrigin) or location.socket:
        return None  # Dagster's own child, or a socket in the file system
    return None if location.host in LOOPBACK else location.host


def fits_the_queue(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the limits of the run queue leave room for this run beside those in progress."""
    config = instance.get_concurrency_config().run_queue_config
    if config is None:  # no queue, so no limits
        return True
    records = instance.get_run_records(dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES))
    others = [r.dagster_run for r in records if r.dagster_run.run_id != run.run_id]
    if config.max_concurrent_runs != -1 and len(others) >= config.max_concurrent_runs:
        return False
    counter = TagConcurrencyLimitsCounter(config.tag_concurrency_limits, others)
    return not counter.is_blocked(run)


def enqueue(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Put a run into the queue, or back into it."""
    instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)


def server_has(client: DagsterGrpcClient, run_id: str, timeout: int) -> bool | None:
    """Whether the run lives on the code server; None where it does not answer in time."""
    try:
        answer: Any = client.can_cancel_execution(
            CanCancelExecutionRequest(run_id=run_id), timeout=timeout
        )
    except DagsterUserCodeUnreachableError as error:
        status = getattr(error.__cause__, "code", lambda: None)()
        return None if getattr(status, "name", "") == "DEADLINE_EXCEEDED" else False
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel


class Submission:
    """Runs of one job as a sensor's daemon would create them, without a code server.

    The definitions are those of this process: they are read once.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        module: str,
        job_name: str,
        sensor_name: str,
        location_name: str,
    ) -> None:
        self._instance = instance
        defs = importlib.import_module(module).defs
        self._repository = defs.get_repository_def()
        self._job = self._repository.get_job(job_name)
        self._sensor_name = sensor_name
        python = RepositoryPythonOrigin(
            sys.executable,
            CodePointer.from_module(module, "defs", os.getcwd()),
            entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
        )
        self._python_origin = JobPythonOrigin(job_name, python)
        target = LoadableTargetOrigin(module_name=module, executable_path=sys.executable)
        location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name)
        self._origin = RemoteJobOrigin(
            RemoteRepositoryOrigin(location, self._repository.name), job_name
        )
        plan = create_execution_plan(self._job, instance_ref=instance.get_ref())
        self._plan = snapshot_from_execution_plan(plan, self._job.get_job_snapshot_id())

    def create(self, partition: str, run_key: str, tags: dict[str, str]) -> str:
        """Create a run, not yet submitted; one that was left so under this key is taken up again.

        Returns its id.
        """
        all_tags = {
            **self._job.run_tags,
            **tags,
            PARTITION_NAME_TAG: partition,
            RUN_KEY_TAG: run_key,
            SENSOR_NAME_TAG: self._sensor_name,
        }
        left = self._instance.get_runs(
            dg.RunsFilter(tags={RUN_KEY_TAG: run_key, SENSOR_NAME_TAG: self._sensor_name})
        )
        if left:
            return left[0].run_id
        return self._instance.create_run(
            job_name=self._job.name,
            run_id=None,
            run_config=None,
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags=all_tags,
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
        ).run_id


def start(instance: dg.DagsterInstance, run_id: str) -> None:
    """Launch a run that was created, or queue it where the limits leave no room for it."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is not dg.DagsterRunStatus.NOT_STARTED:
        return  # somebody else has submitted it meanwhile
    if fits_the_queue(instance, run):
        instance.launch_run(run_id, None)  # type: ignore[arg-type]  # no server is asked
    else:
        enqueue(instance, run)
