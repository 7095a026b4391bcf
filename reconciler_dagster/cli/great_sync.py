"""`reconciler great-sync`: every lead, both sides, proved and repaired."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from reconciler_dagster.cli.output import (
    allow_refusals_option,
    as_one_object,
    echo_json,
    one_client,
    say_if_nobody,
)
from reconciler_dagster.cli.results import exit_code, show
from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration.ahead import Choice, begin
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.processes import importing

if TYPE_CHECKING:  # with Dagster
    from reconciler_dagster.orchestration.great_sync import Progress

DAY = click.DateTime(["%Y-%m-%d"])


@click.command("great-sync")
@one_client
@click.option("--from", "start", type=DAY, help="First month of creation: any day of it.")
@click.option("--to", "end", type=DAY, help="Last month of creation: any day of it.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen; write nothing.")
@click.option("--allow-mass-clear", is_flag=True, help="Let the runs empty cells of many leads.")
@allow_refusals_option
@click.option(
    "--afresh",
    is_flag=True,
    help="Begin anew instead of going on where the last Great Sync was cut off.",
)
@as_one_object
def great_sync(
    client_id: str | None,
    start: datetime | None,
    end: datetime | None,
    dry_run: bool,
    allow_mass_clear: bool,
    allow_refusals: bool,
    afresh: bool,
    as_json: bool,
) -> None:
    """Compare every lead on both sides, repair what differs, and find deletions.

    Needs no daemon; every window's run is recorded in Dagster. A Great Sync that was cut off within
    the last day goes on with the months that are left. Exit code 1: something needs a person.
    """
    choice = Choice(
        start=start.replace(tzinfo=UTC) if start else None,
        end=end.replace(tzinfo=UTC) if end else None,
        afresh=afresh,
        dry_run=dry_run,
        allow_mass_clear=allow_mass_clear,
        allow_refusals=allow_refusals,
    )
    settings = Settings.load()
    results = []
    with ExitStack() as held:
        clients = begin(settings, client_id, choice)
        for ahead in clients[:1]:
            held.enter_context(closing(ahead))
            ahead.wait_until_known()
        with importing():
            from reconciler_dagster.orchestration.great_sync import sync_windows
            from reconciler_dagster.orchestration.instance import dagster_instance
            from reconciler_dagster.orchestration.sqlite import kept_connections

        held.enter_context(kept_connections())
        instance = held.enter_context(dagster_instance(settings))
        terminal = held.enter_context(_Terminal(silent=as_json))
        for result in sync_windows(instance, clients, terminal):
            results.append(result)
            terminal.pause()
            if not as_json:
                show(result, dry_run=dry_run)
            for reason in result.attention:
                click.echo(f"{result.client.name}: {reason}", err=True)
    say_if_nobody(results)
    if as_json:
        echo_json({"clients": [result.as_json(dry_run=dry_run) for result in results]})
    raise click.exceptions.Exit(exit_code(results))


class _Terminal:
    """A bar on a terminal, on stderr; no bar where stderr is no terminal, or ``silent``."""

    def __init__(self, *, silent: bool) -> None:
        console = Console(stderr=True, soft_wrap=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} windows"),
            TextColumn("{task.fields[records]} records, {task.fields[calls]} calls"),
            TimeElapsedColumn(),
            console=console,
            disable=silent or not console.is_terminal,
            redirect_stdout=False,  # results are for whoever reads stdout
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def progress(self, client: Client, progress: Progress) -> None:
        """Move the client's bar."""
        counts = progress.counts
        told: dict[str, Any] = {
            "completed": progress.windows_done,
            "records": _of(counts.pulled, progress.records_expected),
            "calls": _of(counts.airtable_calls, progress.calls_expected),
        }
        if client.id not in self._tasks:
            task = self._bar.add_task(client.name, total=progress.windows, **told)
            self._tasks[client.id] = task
            self._bar.start()  # does nothing where there is no bar
        self._bar.update(self._tasks[client.id], **told)

    def say(self, sentence: str) -> None:
        """On stderr, above the bar."""
        self.pause()
        click.echo(sentence, err=True)

    def pause(self) -> None:
        """Leave the line to others; what is done stays on the screen as it is."""
        if self._bar.disable:
            return
        self._bar.stop()
        for task in self._tasks.values():
            self._bar.remove_task(task)
        self._tasks.clear()


def _of(done: int, expected: int | None) -> str:
    """More may come than is known by now: an estimate that was passed is left out."""
    return f"{done} of {expected}" if expected and done <= expected else str(done)
