"""What starts runs: the schedule, the sensor on the flag row; and what cleans up after a crash."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from collections.abc import Iterator

import dagster as dg

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.orchestration.assets import ASSETS
from reconciler_dagster.orchestration.doorbell import MANUAL_SYNC, wanted_runs
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres import requests, runs
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine

sync_job = dg.define_asset_job(
    "sync",
    selection=dg.AssetSelection.assets(*ASSETS),
    executor_def=dg.in_process_executor,
    description="Reconcile one client: pull, diff, push.",
)


@dg.schedule(
    job=sync_job,
    cron_schedule="*/15 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every 15 minutes, every active client. An outage is covered by the cursor.",
)
def every_15_minutes(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per active client."""
    settings = Settings.load()
    with engine(settings.require_database_url()).connect() as connection:
        clients = active_clients(connection)
    if not clients:
        yield dg.SkipReason("There is no active client.")
    ensure_partitions(context.instance, clients)
    for client in clients:
        yield dg.RunRequest(
            run_key=f"{client.id} {context.scheduled_execution_time.isoformat()}",
            partition_key=client.id,
            tags={PURPOSE_TAG: "delta"},
        )


@dg.sensor(
    job=sync_job,
    name=MANUAL_SYNC,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
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


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Closes what a run left open that was killed.",
)
def close_dead_runs(context: dg.RunFailureSensorContext) -> None:
    """A run that failed by itself has closed its summary; this is for the ones that could not."""
    try:
        url = Settings.load().require_database_url()
    except ConfigurationError:
        return
    with engine(url).begin() as connection:
        runs.abandon(connection, context.dagster_run.run_id, "The run died before it could end.")


SCHEDULES = [every_15_minutes]
SENSORS = [manual_sync, close_dead_runs]
