"""Whether anything starts by itself here, and who else uses the portal's database."""

from __future__ import annotations

import socket

import dagster as dg

from reconciler_dagster.config import Settings, environment_name, starts_by_itself
from reconciler_dagster.orchestration import internals
from reconciler_dagster.postgres.deployments import Deployment

# Read when the definitions are loaded.
_STARTS = starts_by_itself()
SCHEDULE_STATUS = dg.DefaultScheduleStatus.RUNNING if _STARTS else dg.DefaultScheduleStatus.STOPPED
SENSOR_STATUS = dg.DefaultSensorStatus.RUNNING if _STARTS else dg.DefaultSensorStatus.STOPPED


def this_deployment(instance: dg.DagsterInstance, settings: Settings) -> Deployment:
    """The one whose daemon asks."""
    return Deployment(
        id=internals.storage_id(instance),
        environment=environment_name(),
        host=socket.gethostname(),
        ui_url=settings.dagster_ui_url,
    )
