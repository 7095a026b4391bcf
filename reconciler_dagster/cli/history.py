"""`reconciler history`: what the engine changed in a lead, on which side, and when."""

from __future__ import annotations

from dataclasses import asdict

import click

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.postgres import record
from reconciler_dagster.postgres.portal import open_portal
from reconciler_dagster.syncs.in_force import maps


@click.command()
@click.argument("lead")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def history(lead: str, as_json: bool) -> None:
    """Show every change that was carried over in a lead, newest first.

    LEAD is the lead's id in the portal or its record id in Airtable.
    """
    settings = Settings.load()
    with open_portal(settings).connect() as connection:
        tables = [sync.table for sync in maps(settings).values()]
        changes = record.history_of(connection, tables, lead)
    if changes is None:
        raise ConfigurationError(
            f"There is no lead '{lead}': expected its id in the portal, or Airtable's record id."
        )
    if as_json:
        echo_json({"lead": lead, "changes": [asdict(change) for change in changes]})
        return
    for change in changes:
        when = change.changed_at.isoformat(timespec="seconds")
        click.echo(f"{when}  {change.field} in {change.side}: {change.old!r} -> {change.new!r}")
    if not changes:
        click.echo("Nothing has been carried over in this lead.")
