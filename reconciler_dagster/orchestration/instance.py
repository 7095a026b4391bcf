"""Dagster's instance, opened for a command: what is wrong with it is one sentence.

`python -m reconciler_dagster.orchestration.instance` tells what its storage is, or that sentence.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import dagster as dg

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.orchestration.home import dagster_home, require_dagster_postgres
from reconciler_dagster.outlets import guard
from reconciler_dagster.telling import told


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of the Dagster home, closed at the end of the block.

    Raises ConfigurationError where home, `dagster.yaml` or storage cannot be used.
    """
    home = dagster_home()
    if settings.dagster_postgres_url is not None:
        require_dagster_postgres(settings.dagster_postgres_url.get_secret_value())
    try:
        instance = dg.DagsterInstance.get()
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"The Dagster instance of {home} cannot be opened ({told(error)}): check its "
            "dagster.yaml, and that its storage can be written."
        ) from None
    with instance:
        yield instance


def _main() -> int:
    guard()
    try:
        with dagster_instance(Settings.load()) as instance:
            kind = type(instance.run_storage).__name__.removesuffix("RunStorage")
            click.echo(f"{kind}, {instance.get_runs_count()} runs")
            return 0
    except ConfigurationError as error:
        click.echo(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(_main())
