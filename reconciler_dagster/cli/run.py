"""`reconciler run`: the same run as the schedule's, without a daemon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from reconciler_dagster.cli.output import as_one_object, echo_json, one_client, say_if_nobody
from reconciler_dagster.config import Settings
from reconciler_dagster.engine.diff import NEW_LEAD
from reconciler_dagster.orchestration.execute import ClientResult, sync_clients
from reconciler_dagster.orchestration.instance import dagster_instance
from reconciler_dagster.orchestration.ops import SyncConfig


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
@as_one_object
def run(
    client_id: str | None, scope: str, dry_run: bool, allow_mass_clear: bool, as_json: bool
) -> None:
    """Reconcile once, for all active clients or one, and wait for the end.

    The run is recorded in Dagster and keeps out of the way of its other runs. Exit code 0: all
    well; 1: something needs a person; 2: a setting, a base or the field map is wrong.
    """
    config = SyncConfig(scope=scope, dry_run=dry_run, allow_mass_clear=allow_mass_clear)
    settings = Settings.load()
    results = []
    with dagster_instance(settings) as instance:
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


def exit_code(results: Iterable[ClientResult]) -> int:
    """0 all well, 1 something needs a person, 2 something is set up wrongly."""
    codes = [2 if r.misconfigured else 1 if r.attention else 0 for r in results]
    return max(codes, default=0)


def show(result: ClientResult, *, dry_run: bool) -> None:
    """What a run did, or what a dry run would do, for a person."""
    counts = {name.replace("_", " "): n for name, n in asdict(result.counts).items() if n}
    summary = ", ".join(f"{name}: {n}" for name, n in counts.items())
    click.echo(f"{result.client.name} ({result.client.id}): {summary}")
    if not dry_run or not result.change_set:
        return
    plan = result.change_set
    click.echo(f"  would insert {plan['inserts']} leads")
    for side, name in (("to_postgres", "Postgres"), ("to_airtable", "Airtable")):
        for column, n in sorted(plan[side].items()):
            click.echo(f"  would write {column} of {n} leads in {name}")
    for column, n in sorted(plan["conflicts"].items()):
        click.echo(f"  would keep the portal's {column} of {n} leads in the conflict log")
    for cell in plan["sample"]:
        change = "" if cell["field"] == NEW_LEAD else f": '{cell['old']}' -> '{cell['new']}'"
        click.echo(f"  e.g. {cell['record_id']} {cell['field']} in {cell['side']}{change}")
