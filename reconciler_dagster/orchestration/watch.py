"""The sensor that looks what is wrong where no listener does; it cannot see a dead daemon."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from functools import partial

import dagster as dg

from reconciler_dagster.config import Settings
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.watcher import look
from reconciler_dagster.orchestration import seen
from reconciler_dagster.orchestration.environments import SENSOR_STATUS
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listener import doorbell


@dg.sensor(
    default_status=SENSOR_STATUS,
    minimum_interval_seconds=30,
    description="Finds what is wrong and sends notices, where no listener runs. "
    "It reads Postgres, not Dagster's events, so hundreds of failures cost one look.",
)
def watch(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """The listener's watcher is the better one: it sees a dead daemon too."""
    settings = Settings.load()
    with engine(settings.require_database_url()).connect() as connection:
        word = doorbell(connection).word
    if word in ("listening", "deaf"):
        return dg.SkipReason("The listener does this already.")
    look(Keeper(settings, NoticeSettings.load(), partial(seen.look, context.instance)))
    return dg.SkipReason("Looked.")
