"""What starts runs: the schedule, the sensor on the flag row; and what cleans up after a crash."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from collections.abc import Iterator

import dagster as dg

from reconciler_dagster import processes
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.words import counted
from reconciler_dagster.orchestration import glance
from reconciler_dagster.orchestration.alive import WARM_TAG, process_of
from reconciler_dagster.orchestration.doorbell import MANUAL_SYNC, wanted_runs
from reconciler_dagster.orchestration.environments import (
    SCHEDULE_STATUS,
    SENSOR_STATUS,
    this_deployment,
)
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.submission import submit_tick
from reconciler_dagster.orchestration.sync_job import sync_job
from reconciler_dagster.orchestration.tick import delta_of, tick_at
from reconciler_dagster.orchestration.watch import watch
from reconciler_dagster.postgres import deployments, requests, runs
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listed import follow


@dg.schedule(
    job=sync_job,
    cron_schedule="*/15 * * * *",
    default_status=SCHEDULE_STATUS,
    description="Every 15 minutes, every active client. After an outage, all that was missed.",
)
def every_15_minutes(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per active client; none where glances say for whom one is called for."""
    settings = Settings.load()
    tick = tick_at(
        engine(settings.require_database_url()), settings, context.scheduled_execution_time
    )
    for why in tick.left_out:
        context.log.info(why)
    ensure_partitions(context.instance, tick.clients)
    if not tick.called_for:
        nobody = (
            "Nothing is due: there is no active client, each was synced moments ago, or the "
            "month's calls are used up."
        )
        yield dg.SkipReason("\n".join(tick.left_out) or nobody)
        return
    if glance.decides(context.instance, settings, tick):
        yield dg.SkipReason(
            f"{len(tick.clients)} clients, more than RECONCILER_GLANCE_ABOVE: the runs of `glance` "
            "look at each, and start a run where there is anything to do."
        )
        return
    wanted = [delta_of(client, tick) for client in tick.called_for]
    submit_tick(context, sync_job.name, wanted)
    yield from wanted


@dg.sensor(
    job=sync_job,
    name=MANUAL_SYNC,
    minimum_interval_seconds=5,
    default_status=SENSOR_STATUS,
    description="Starts a run for the rows that wait in reconciler.manual_sync_request, where no "
    "listener has done so.",
)
def manual_sync(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Reads the flag rows; the run marks them. Several rows of a client give one run."""
    portal = engine(Settings.load().require_database_url())
    wanted = wanted_runs(portal, context.instance)
    if not wanted:
        return dg.SkipReason("No request is waiting.")
    with portal.begin() as connection:
        mine = [
            run
            for run in wanted
            if requests.claim_for_sensor(connection, run.request_id, run.run_key)
        ]
    return dg.SensorResult(run_requests=[run.as_run_request() for run in mine])


@dg.sensor(
    default_status=SENSOR_STATUS,
    minimum_interval_seconds=15,
    description="Closes what a run left open that was killed.",
)
def close_dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """A run that ends by itself closes its summaries; this is for the ones that could not.

    By what is open, not by Dagster's events: so it does not matter how many runs have died at
    once, and one that was cancelled is found too.
    """
    _fail_runs_that_died_starting(context.instance)
    try:
        portal = engine(Settings.load().require_database_url())
    except ConfigurationError as error:
        return dg.SkipReason(str(error))
    with portal.begin() as connection:
        deployments.beat(connection, this_deployment(context.instance, Settings.load()))
        dead = _of_these_dead(context.instance, runs.started(connection))
        for run_id in dead:
            runs.abandon(connection, run_id, "The run died before it could end.")
    return dg.SkipReason(f"Closed what {counted(len(dead), 'killed run')} had left open.")


def _of_these_dead(instance: dg.DagsterInstance, run_ids: list[str]) -> list[str]:
    """The runs that did not end well. One that Dagster does not know is another home's."""
    if not run_ids:
        return []
    badly = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    return [run.run_id for run in instance.get_runs(dg.RunsFilter(run_ids, statuses=badly))]


def _fail_runs_that_died_starting(instance: dg.DagsterInstance) -> None:
    """Run monitoring asks for the health of runs that have started, and gives others minutes."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        there = process_of(run.run_id, run.tags, WARM_TAG)
        if there is not None and processes.has_ended(there):
            instance.report_run_failed(run, "The run has died: its process is gone.")


@dg.sensor(
    default_status=SENSOR_STATUS,
    minimum_interval_seconds=60,
    description="Makes a partition of each client that has none yet.",
)
def keep_partitions(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """So that a schedule's tick finds them: to make a thousand takes longer than one may."""
    settings = Settings.load()
    try:
        with engine(settings.require_database_url()).begin() as connection:
            follow(connection, settings.listed_clients)
            clients = active_clients(connection)
    except ConfigurationError as error:
        return dg.SkipReason(str(error))
    made = ensure_partitions(context.instance, clients)
    return dg.SkipReason(f"{len(clients)} active clients; {made} partitions were made.")


SCHEDULES = [every_15_minutes, glance.glance_every_15_minutes]
SENSORS = [manual_sync, close_dead_runs, keep_partitions, watch]
