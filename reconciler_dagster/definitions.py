"""Everything Dagster, wired in one place. Loading it reads no setting and opens no connection."""

import dagster as dg

from reconciler_dagster.orchestration.assets import ASSETS
from reconciler_dagster.orchestration.automation import SCHEDULES, SENSORS, sync_job
from reconciler_dagster.orchestration.checks import CHECKS
from reconciler_dagster.orchestration.quarantine import retry_quarantine
from reconciler_dagster.orchestration.resources import client_run

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=[sync_job, retry_quarantine],
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"client_run": client_run},
    # Also for a "Materialize" pressed on assets: the lock is held by one process for the run.
    executor=dg.in_process_executor,
)
