"""Having quarantined cells tried again: the job for Dagster's launchpad, and its rules."""

# No `from __future__ import annotations` here: Dagster reads the config class at run time.
import dagster as dg
from sqlalchemy import Connection

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.fields import LEADS
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD, retry


class RetryConfig(dg.Config):
    """Which cells; every one where nothing is given."""

    client_id: str | None = None
    record_id: str | None = None
    field: str | None = None


def retry_chosen(connection: Connection, chosen: RetryConfig) -> int:
    """Make cells due; returns how many. ConfigurationError where a choice matches none: it may be
    a slip of the pen, and "0 cells" would look like success.
    """
    if chosen.client_id is not None:
        find_client(connection, chosen.client_id)
    if chosen.field not in (None, WHOLE_LEAD, *LEADS.columns):
        raise ConfigurationError(
            f"'{chosen.field}' is no field: expected a mapped column of leads, as "
            f"`reconciler quarantine list` shows it, or '{WHOLE_LEAD}'."
        )
    count = retry(connection, chosen.client_id, chosen.record_id, chosen.field)
    parts = {"client": chosen.client_id, "record": chosen.record_id, "field": chosen.field}
    named = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
    if named and not count:
        raise ConfigurationError(
            f"No cell of {named} is in quarantine: see `reconciler quarantine list`."
        )
    return count


@dg.op(description="Makes cells in quarantine due; the next run takes their current values.")
def make_due(context: dg.OpExecutionContext, config: RetryConfig) -> None:
    """Make cells due."""
    with engine(Settings.load().require_database_url()).begin() as connection:
        count = retry_chosen(connection, config)
    context.add_output_metadata({"cells": count})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Have cells in quarantine tried again by the next run.",
)
def retry_quarantine() -> None:
    """Retry."""
    make_due()
