"""`reconciler migrate`: the way up and the way down."""

from __future__ import annotations

import click
from sqlalchemy import Engine

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.config import Settings
from reconciler_dagster.core.guard import problems
from reconciler_dagster.core.sync import SyncMap
from reconciler_dagster.portal.tables import require_public
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.guard import read_facts
from reconciler_dagster.postgres.losses import losses
from reconciler_dagster.postgres.migrate import (
    downgrade,
    is_ahead,
    is_current,
    tables_of,
    upgrade,
    would_do,
)
from reconciler_dagster.syncs.in_force import maps


@click.command()
@click.option("--down", is_flag=True, help="Remove the engine's own schema instead.")
@click.option("--yes", is_flag=True, help="With --down: go on although something will be lost.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(down: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Bring the portal's database up to date.

    An empty database gets the portal's tables, but where RECONCILER_CLIENTS lists the clients; an
    existing portal keeps every row, column, default, index and trigger. The tables of the syncs in
    force get the trigger that notes edits, and what keeps edits from being noted is mended,
    whatever the version. Down forgets what was agreed with Airtable, and removes no lead; where
    edits, lost values or decisions of people would be forgotten too, it says so and wants --yes.
    Exit code 1: something is left that only a person can mend, or that nobody has said yes to.
    """
    if down and dry_run:
        raise click.UsageError(
            "--down has no --dry-run: leave one of them out. Where --down would lose something, it "
            "says so first and wants --yes."
        )
    settings = Settings.load()
    portal, syncs = engine(settings.require_database_url()), list(maps(settings).values())
    if dry_run:
        _say_what_would_be_done(would_do(portal, syncs, settings.listed_clients), as_json)
        return
    if is_ahead(portal) and not down:
        _leave_it(as_json)
        return
    was_current = is_current(portal)
    mended: list[str] = []
    lost = _losses(portal) if down and was_current else []
    for what in lost:
        click.echo(f"Lost: {what}" if yes else f"Would be lost: {what}", err=True)
    if lost and not yes:
        if as_json:
            echo_json({"direction": "down", "changed": False, "mended": [], "lost": lost})
        click.echo("Nothing was changed. To go on although this will be lost, add --yes.", err=True)
        raise click.exceptions.Exit(1)
    if down:
        downgrade(portal)
    else:
        require_public(portal, settings.listed_clients)
        mended = upgrade(
            portal,
            syncs=syncs,
            listed=settings.listed_clients,
            say=lambda sentence: click.echo(sentence, err=True),
        )
    changed = down or not was_current or bool(mended)
    if as_json:
        told = {"direction": "down" if down else "up", "changed": changed, "mended": mended}
        echo_json(told | ({"lost": lost} if lost else {}))
    elif down:
        click.echo("The engine's schema is gone; leads and filled tables are still there.")
    else:
        click.echo("Up to date already." if was_current else "Migrated.")
        for what in mended:
            click.echo(f"Mended: {what}")
    if not down:
        _tell_what_is_left(portal, syncs)


def _say_what_would_be_done(steps: list[str], as_json: bool) -> None:
    if as_json:
        echo_json({"would": steps})
        return
    for step in steps:
        click.echo(step)
    if not steps:
        click.echo("Up to date already: nothing would be done.")


def _leave_it(as_json: bool) -> None:
    """A later release has migrated the database: this one works with it, and changes nothing."""
    if as_json:
        echo_json({"direction": "up", "changed": False, "mended": []})
    else:
        click.echo("A later release has migrated the database: nothing was changed.")


def _tell_what_is_left(portal: Engine, syncs: list[SyncMap]) -> None:
    """What no migration can mend, on stderr; then the command ends with 1."""
    with portal.connect() as connection:
        found = (problems(read_facts(connection, watched)) for watched in tables_of(syncs))
        left = list(dict.fromkeys(str(problem) for each in found for problem in each))
    for problem in left:
        click.echo(problem, err=True)
    if left:
        raise click.exceptions.Exit(1)


def _losses(portal: Engine) -> list[str]:
    with portal.connect() as connection:
        return losses(connection)
