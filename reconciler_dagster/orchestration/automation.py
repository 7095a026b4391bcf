"""What starts runs: the schedule, the sensor on the flag row; and what cleans up after a crash."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from collections.abc import Iterator

import dagster as dg

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.orchestration.assets import ASSETS
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres import runs
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


# Enough to get over a launch that failed; after that a person must look.
LAUNCH_ATTEMPTS = 5


@dg.sensor(
    job=sync_job,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run for the rows that wait in reconciler.manual_sync_request.",
)
def manual_sync(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Reads the flag rows; the run marks them. Several rows of a client give one run.

    A run key is remembered for ever, so it is made of the oldest waiting row's id, and of how
    many runs for that row have ended without taking it over.
    """
    settings = Settings.load()
    with engine(settings.require_database_url()).begin() as connection:
        runs.refuse_unknown(connection)
        waiting = runs.waiting(connection)
        clients = active_clients(connection) if waiting else []
    if not waiting:
        return dg.SkipReason("No request is waiting.")
    ensure_partitions(context.instance, clients)
    requests = []
    for row in waiting:
        tag = {"reconciler/request": str(row.first)}
        ended = context.instance.get_runs_count(
            dg.RunsFilter(
                tags=tag,
                statuses=[
                    dg.DagsterRunStatus.FAILURE,
                    dg.DagsterRunStatus.CANCELED,
                    dg.DagsterRunStatus.SUCCESS,
                ],
            )
        )
        if ended < LAUNCH_ATTEMPTS:
            requests.append(
                dg.RunRequest(
                    run_key=f"manual {row.first} {ended}",
                    partition_key=row.client_id,
                    tags={PURPOSE_TAG: "manual", "dagster/priority": "10", **tag},
                )
            )
    return dg.SensorResult(run_requests=requests)


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
