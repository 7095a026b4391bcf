"""`reconciler run`: the same run as the schedule's, without a daemon."""

from __future__ import annotations

import click

from reconciler_dagster.cli.output import (
    allow_refusals_option,
    as_one_object,
    echo_json,
    one_client,
    say_if_nobody,
)
from reconciler_dagster.cli.results import exit_code, show
from reconciler_dagster.cli.warm import hand_over
from reconciler_dagster.config import Settings
from reconciler_dagster.processes import importing


@click.command()
@one_client
@click.option(
    "--scope",
    type=click.Choice(["changed", "everything"]),
    default="changed",
    show_default=True,
    help="What changed since the last run, or every lead.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option(
    "--allow-mass-clear", is_flag=True, help="Let the run empty cells of many leads in Airtable."
)
@allow_refusals_option
@as_one_object
@click.pass_context
def run(
    context: click.Context,
    client_id: str | None,
    scope: str,
    dry_run: bool,
    allow_mass_clear: bool,
    allow_refusals: bool,
    as_json: bool,
) -> None:
    """Reconcile once, for all active clients or one, and wait for the end.

    The run is recorded in Dagster and keeps out of the way of its other runs. Exit code 0: all
    well; 1: something needs a person, be it that a dry run foresees that cells are refused, or that
    nobody has adopted the client yet; 2: a setting, a base or the field map is wrong.
    """
    settings = Settings.load()  # before the slow imports: a wrong one is told at once
    hand_over(context)
    with importing():
        from reconciler_dagster.orchestration.execute import sync_clients
        from reconciler_dagster.orchestration.instance import dagster_instance
        from reconciler_dagster.orchestration.ops import SyncConfig
        from reconciler_dagster.orchestration.sqlite import kept_connections

    config = SyncConfig(
        scope=scope,
        dry_run=dry_run,
        allow_mass_clear=allow_mass_clear,
        allow_refusals=allow_refusals,
    )
    results = []
    with kept_connections(), dagster_instance(settings) as instance:
        for result in sync_clients(settings, instance, client_id, config):
            results.append(result)
            if not as_json:
                show(result, dry_run=dry_run)
            for reason in result.attention:
                click.echo(f"{result.client.name}: {reason}", err=True)
    say_if_nobody(results)
    if as_json:
        echo_json({"clients": [result.as_json(dry_run=dry_run) for result in results]})
    raise click.exceptions.Exit(exit_code(results))
