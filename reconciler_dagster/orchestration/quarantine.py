"""Having quarantined cells tried again: the job for Dagster's launchpad,"""

# No `from __future__ import annotations` here: Dagster reads the config class at run time.
import dagster as dg

from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.retry import retry_chosen
from reconciler_dagster.syncs.in_force import mapped_columns


class RetryConfig(dg.Config):
    """Which cells; every one where nothing is given."""

    client_id: str | None = None
    record_id: str | None = None
    field: str | None = None


@dg.op(description="Makes cells in quarantine due; the next run takes their current values.")
def make_due(context: dg.OpExecutionContext, config: RetryConfig) -> None:
    """Make cells due."""
    settings = Settings.load()
    with engine(settings.require_database_url()).begin() as connection:
        columns = mapped_columns(settings)
        count = retry_chosen(connection, columns, config.client_id, config.record_id, config.field)
    context.add_output_metadata({"cells": count})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Have cells in quarantine tried again by the next run.",
)
def retry_quarantine() -> None:
    """Retry."""
    make_due()
