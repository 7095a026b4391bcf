"""Whether anything starts by itself here, and who else uses the portal's database."""

from __future__ import annotations

import socket
from uuid import uuid4

import dagster as dg

from reconciler_dagster.config import Settings, environment_name, starts_by_itself
from reconciler_dagster.postgres.deployments import Deployment

# Read when the definitions are loaded.
_STARTS = starts_by_itself()
SCHEDULE_STATUS = dg.DefaultScheduleStatus.RUNNING if _STARTS else dg.DefaultScheduleStatus.STOPPED
SENSOR_STATUS = dg.DefaultSensorStatus.RUNNING if _STARTS else dg.DefaultSensorStatus.STOPPED


def this_deployment(instance: dg.DagsterInstance, settings: Settings) -> Deployment:
    """The one whose daemon asks."""
    return Deployment(
        id=_storage_id(instance),
        environment=environment_name(),
        host=socket.gethostname(),
        ui_url=settings.dagster_ui_url,
    )


def _storage_id(instance: dg.DagsterInstance) -> str:
    """What identifies the place where an instance keeps its runs; kept there since it was asked for
    the first time.
    """
    name = "reconciler_storage_id"
    kept = instance.run_storage.get_cursor_values({name}).get(name)
    if kept is None:
        kept = str(uuid4())
        instance.run_storage.set_cursor_values({name: kept})
    return kept
