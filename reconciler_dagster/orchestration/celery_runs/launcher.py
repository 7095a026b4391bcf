"""dagster-celery's launcher, with the limits looked at again, a queue for manual syncs, and an
answer for run monitoring that does not rest on the broker's memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dagster import DagsterRun
from dagster._serdes import ConfigurableClassData
from dagster_celery.config import TASK_EXECUTE_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from reconciler_dagster import processes
from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.alive import PROCESS_TAG, process_of
from reconciler_dagster.orchestration.celery_runs.settings import CONFIG
from reconciler_dagster.orchestration.dagster_yaml import MANUAL_QUEUE
from reconciler_dagster.orchestration.internals import (
    CheckRunHealthResult,
    LaunchRunContext,
    WorkerStatus,
)
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres import run_beats
from reconciler_dagster.postgres.connection import engine

# At least so long without a sign of life, and as long as a lease lasts.
_SILENT_SECONDS = 20.0
_BROKER_AWAY = (OperationalError, RedisError, OSError)


class WatchedCeleryRunLauncher(CeleryRunLauncher):  # type: ignore[misc]  # untyped
    """Needs no workspace, so the listener launches with it too."""

    launches_alone = True

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> WatchedCeleryRunLauncher:
        """With the settings that the workers have too."""
        return cls(inst_data=inst_data, **{**config_value, "config_source": CONFIG})

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand the run to the workers; it waits in the queue again where there is no room for it
        after all (see `WatchedRunLauncher`), or while the broker is away.
        """
        run = context.dagster_run
        if not internals.fits_the_queue(self._instance, run):
            internals.enqueue(self._instance, run)
            return
        if run.tags.get(PURPOSE_TAG) == "manual":
            self._instance.add_run_tags(run.run_id, {DAGSTER_CELERY_QUEUE_TAG: MANUAL_QUEUE})
            run = self._instance.get_run_by_id(run.run_id) or run
        try:
            # By its name: to register the task with each launch, as the original does, is a
            # warning each time. Nobody reads the task's result, and to wait for it by a
            # subscription would hold a launch up, and break it off, once the broker has been away.
            task = self.celery.signature(
                TASK_EXECUTE_JOB_NAME,
                kwargs={"execute_job_args_packed": internals.packed(self._instance, run)},
                immutable=True,
                options={"ignore_result": True},
            )
            self._launch_celery_task_run(run, task, TASK_EXECUTE_JOB_NAME)
        except _BROKER_AWAY as error:
            self._instance.report_engine_event(
                f"The broker of RECONCILER_REDIS_URL is away ({type(error).__name__}): the run "
                "waits in the queue.",
                run,
                cls=self.__class__,
            )
            internals.enqueue(self._instance, run)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run: it sees by itself that it is to be cancelled, and ends in order."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task is not None:
            with suppress(*_BROKER_AWAY):  # it sees it all the same
                self.celery.control.revoke(task)  # where it has not begun
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """By the signs of life that a run gives to the portal's Postgres."""
        there = process_of(run.run_id, run.tags, PROCESS_TAG)
        if there is not None:  # a command executes it itself
            return _verdict(processes.may_live(there), "the process that executed it is gone")
        settings = Settings.load()
        allowed = max(settings.lease_seconds, _SILENT_SECONDS)
        with engine(settings.require_database_url()).connect() as connection:
            beat = run_beats.last(connection, run.run_id)
        alive = beat is not None and beat.silent <= allowed
        return _verdict(alive, f"its worker has given no sign of life for {allowed:.0f} s")


def _verdict(alive: bool, reason: str) -> CheckRunHealthResult:
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"The run has died: {reason}.")
