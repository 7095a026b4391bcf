"""Everything Dagster, wired in one place. Loading it opens no connection, and no setting that is
wrong keeps it from loading.
"""

from collections.abc import Iterable

import dagster as dg

from reconciler_dagster.orchestration import groups
from reconciler_dagster.orchestration.adopt_job import adopt_job, adoption_requested
from reconciler_dagster.orchestration.assets import ASSETS
from reconciler_dagster.orchestration.audit import (
    audit_job,
    audited_leads,
    decide_deletions_job,
    every_hour,
)
from reconciler_dagster.orchestration.automation import SCHEDULES, SENSORS
from reconciler_dagster.orchestration.catalogue import described
from reconciler_dagster.orchestration.checks import CHECKS
from reconciler_dagster.orchestration.glance import glance_job
from reconciler_dagster.orchestration.quarantine import retry_quarantine
from reconciler_dagster.orchestration.reconciled_windows import WINDOW_ASSETS, great_sync_job
from reconciler_dagster.orchestration.retention import forget_every_hour, forget_old_runs_job
from reconciler_dagster.orchestration.sync_job import RESOURCES, sync_job
from reconciler_dagster.orchestration.window_checks import WINDOW_CHECKS
from reconciler_dagster.outlets import guard
from reconciler_dagster.syncs.definition import SyncDefinition


def wired(syncs: Iterable[SyncDefinition]) -> dg.Definitions:
    """All of it, with a group of assets for each of the syncs."""
    return dg.Definitions(
        assets=[
            *described([*ASSETS, *WINDOW_ASSETS, audited_leads]),
            *groups.specs(syncs),
        ],
        asset_checks=[*CHECKS, *WINDOW_CHECKS],
        jobs=[
            sync_job,
            glance_job,
            retry_quarantine,
            great_sync_job,
            audit_job,
            decide_deletions_job,
            adopt_job,
            forget_old_runs_job,
        ],
        schedules=[*SCHEDULES, every_hour, forget_every_hour],
        sensors=[*SENSORS, adoption_requested],
        resources=RESOURCES,
        # Also for a "Materialize" pressed on assets: the lock is held by one process for the run.
        executor=dg.in_process_executor,
    )


guard()
defs = wired(groups.in_force())
