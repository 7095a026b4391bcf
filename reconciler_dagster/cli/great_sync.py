"""`reconciler great-sync`: every lead, both sides, proved and repaired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click
import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.cli.run import exit_code, show
from reconciler_dagster.config import Settings
from reconciler_dagster.engine.session import Counts
from reconciler_dagster.orchestration.great_sync import Choice, Told, sync_windows
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.windows import WindowConfig
from reconciler_dagster.postgres.clients import Client

DAY = click.DateTime(["%Y-%m-%d"])


@click.command("great-sync")
@click.option("--client", "client_id", help="Id of one client; all active ones unless given.")
@click.option("--from", "start", type=DAY, help="From the month of this day on, by creation.")
@click.option("--to", "end", type=DAY, help="Up to and with the month of this day.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen; write nothing.")
@click.option("--allow-mass-clear", is_flag=True, help="Empty many cells in Airtable if need be.")
@click.option("--afresh", is_flag=True, help="Do not go on where a killed Great Sync stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def great_sync(
    client_id: str | None,
    start: datetime | None,
    end: datetime | None,
    dry_run: bool,
    allow_mass_clear: bool,
    afresh: bool,
    as_json: bool,
) -> None:
    """Compare every lead on both sides, repair what differs, and find deletions.

    Needs no daemon; every window's run is recorded in Dagster. A Great Sync that was killed goes
    on with the months that are left. Exit code 1: something needs a person.
    """
    choice = Choice(
        start=start.replace(tzinfo=UTC) if start else None,
        end=end.replace(tzinfo=UTC) if end else None,
        afresh=afresh,
        config=WindowConfig(dry_run=dry_run, allow_mass_clear=allow_mass_clear),
    )
    settings = Settings.load()
    dagster_home()
    with dg.DagsterInstance.get() as instance, _progress(as_json) as progress:
        results = list(sync_windows(settings, instance, client_id, choice, progress))
    for result in results:
        if not as_json:
            show(result, dry_run=dry_run)
        for reason in result.attention:
            click.echo(f"{result.client.name}: {reason}", err=True)
    if as_json:
        echo_json({"clients": [result.as_json() for result in results]})
    raise click.exceptions.Exit(exit_code(results))


@contextmanager
def _progress(silent: bool) -> Iterator[Told]:
    """A bar on a terminal, on stderr; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} windows"),
        TextColumn("{task.fields[records]} records, {task.fields[calls]} calls"),
        TimeElapsedColumn(),
        console=console,
        disable=silent or not console.is_terminal,
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def told(client: Client, done: int, windows: int, counts: Counts) -> None:
            if client.id not in tasks:
                tasks[client.id] = bar.add_task(client.name, total=windows, records=0, calls=0)
            bar.update(
                tasks[client.id],
                completed=done,
                records=counts.pulled,
                calls=counts.airtable_calls,
            )

        yield told
