"""`reconciler migrate`: the way up and the way down."""

from __future__ import annotations

import click

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import downgrade, is_current, upgrade


@click.command()
@click.option("--down", is_flag=True, help="Take the engine's own schema away again instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(down: bool, as_json: bool) -> None:
    """Bring the portal's database up to date.

    An empty database gets the portal's tables; an existing portal keeps every row, column,
    default, index and trigger. Down forgets what was agreed with Airtable, and removes no lead.
    """
    portal = engine(Settings.load().require_database_url())
    was_current = is_current(portal)
    if down:
        downgrade(portal)
    elif not was_current:
        upgrade(portal)
    changed = down or not was_current
    if as_json:
        echo_json({"direction": "down" if down else "up", "changed": changed})
    elif down:
        click.echo("The engine's schema is gone; leads and filled tables are still there.")
    else:
        click.echo("Migrated." if changed else "Up to date already.")
