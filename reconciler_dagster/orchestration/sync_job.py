"""The job of the sync, and that job by itself: all other definitions take half as long to load as
Dagster does, and `reconciler run` needs none of them.
"""

from __future__ import annotations

import dagster as dg

from reconciler_dagster.orchestration.assets import ASSETS
from reconciler_dagster.orchestration.catalogue import described
from reconciler_dagster.orchestration.checks import CHECKS
from reconciler_dagster.orchestration.resources import client_run
from reconciler_dagster.orchestration.windows import window_run

# Of all jobs.
RESOURCES = {"client_run": client_run, "window_run": window_run}
sync_job = dg.define_asset_job(
    "sync",
    selection=dg.AssetSelection.assets(*ASSETS),
    executor_def=dg.in_process_executor,
    description="Reconcile one client: pull, diff, push.",
)


def by_itself() -> dg.JobDefinition:
    """The same job as in the definitions, to the last detail: Dagster tells its runs as theirs."""
    return dg.Definitions(
        assets=described([*ASSETS]),
        asset_checks=CHECKS,
        jobs=[sync_job],
        resources=RESOURCES,
    ).resolve_job_def(sync_job.name)
