"""The private parts of Dagster that launching leans on, all of them, in one place; those that
creating a run leans on are in `submission`.

`reconciler_dagster_tests/orchestration/test_internals.py` fails when an upgrade moves one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from threading import Event, Thread
from typing import Any

import dagster as dg
from dagster._cli.api import _execute_run_command_body
from dagster._cli.utils import get_instance_for_cli
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.instance import InstanceRef
from dagster._core.launcher import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    LaunchRunContext,
    WorkerStatus,
)
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import (
    CanCancelExecutionRequest,
    CanCancelExecutionResult,
    ExecuteRunArgs,
)
from dagster._serdes import deserialize_value, pack_value, serialize_value, unpack_value
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

# What is imported where an instance is opened, and a run begins.
IMPORTED_LATE = (
    "dagster._core.executor.in_process",
    "dagster._core.execution.plan.active",
    "dagster._core.instance.factory",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.system_config.composite_descent",
    "dagster._core.utility_ops",
    "dagster._utils.temp_file",
    "dagster._utils.test.definitions",
    "fsspec.implementations.local",
    "upath.implementations.local",
)
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
        return execute_with(instance, run_id)


def execute_with(instance: dg.DagsterInstance, run_id: str) -> bool:
    """The same with an instance that is open."""
    with ExitStack() as watched:
        watched.callback(_watch_for_cancel(instance, run_id))
        _execute_run_command_body(run_id, instance, lambda _event: None, False)
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def packed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Any:
    """What dagster-celery's launcher sends to a worker."""
    origin = run.job_code_origin
    if origin is None:
        raise ValueError(f"run {run.run_id} does not say where its code is")
    return pack_value(
        ExecuteRunArgs(
            job_origin=origin,
            run_id=run.run_id,
            instance_ref=instance.get_ref(),
            set_exit_code_on_failure=True,
        )
    )


def run_id_of(packed: Mapping[str, Any]) -> str:
    """The run that dagster-celery's launcher asks a worker to execute."""
    return str(unpack_value(packed, as_type=ExecuteRunArgs).run_id)


def execute_interruptibly(instance: dg.DagsterInstance, run_id: str) -> bool:
    """The same, ended in order by a signal."""
    with capture_interrupts():
        return execute_with(instance, run_id)


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


def start(instance: dg.DagsterInstance, run_id: str) -> None:
    """Launch a run that was created, or queue it for the daemon: where the limits leave no room, or
    the launcher is one that needs the daemon's workspace.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is not dg.DagsterRunStatus.NOT_STARTED:
        return  # somebody else has submitted it meanwhile
    alone = getattr(instance.run_launcher, "launches_alone", False)
    if alone and fits_the_queue(instance, run):
        instance.launch_run(run_id, None)  # type: ignore[arg-type]  # no server is asked
    else:
        enqueue(instance, run)
