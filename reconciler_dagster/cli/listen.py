"""`reconciler listen`: the doorbell of a deployment."""

from __future__ import annotations

import logging

import click


@click.command()
def listen() -> None:
    """Start a run as soon as a sync is asked for; `up` has this already.

    Runs beside `dagster-daemon`, on the same host and with the same DAGSTER_HOME and settings.
    Without it, or when it is down, the sensor finds every request within seconds. With
    RECONCILER_ON_EDIT, edits in the portal ask for a sync too. Ctrl-C or SIGTERM ends it.
    """
    from reconciler_dagster.orchestration import listener

    listener.log.setLevel(logging.INFO)
    listener.listen()
