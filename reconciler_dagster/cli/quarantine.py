"""`reconciler quarantine`: what could not be carried over, why, and another try."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import asdict

import click

from reconciler_dagster.cli.output import as_one_object, counted, echo_json
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.choices import Side, choose
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.held import TOLD_SINGLY, Held, held
from reconciler_dagster.postgres.portal import chosen_clients, open_portal
from reconciler_dagster.postgres.retry import retry_chosen
from reconciler_dagster.syncs.in_force import mapped_columns, maps

_CLIENT = click.option("--client", "client_id", help="Id of one client; all unless given.")
_WAY = {"to_postgres": "Airtable to Postgres", "to_airtable": "Postgres to Airtable"}


@click.group()
def quarantine() -> None:
    """List the cells that could not be carried over, and have them tried again."""


@quarantine.command("list")
@_CLIENT
@as_one_object
def list_(client_id: str | None, as_json: bool) -> None:
    """Every cell in quarantine, with its reason. Exit code 1 while there are any.

    More than five of one field and one reason are one entry; --json has every cell.
    """
    with open_portal(Settings.load()).connect() as connection:
        if client_id is not None:
            find_client(connection, client_id)
        cells = held(connection, client_id)
    if as_json:
        echo_json({"quarantine": [asdict(cell) for cell in cells]})
    else:
        for alike in _alike(cells):
            cell, more = alike[0], len(alike) - 1
            others = f" and {counted(more, 'lead')} more" if more else ""
            click.echo(
                f"{cell.client}  {cell.record_id}{others}  {cell.field}  {_WAY[cell.direction]}  "
                f"tried {cell.attempts}x, next {cell.next_attempt_at:%Y-%m-%d %H:%M} UTC\n"
                f"  {cell.reason}"
            )
        click.echo(f"{counted(len(cells), 'cell')} in quarantine.")
        if cells:
            click.echo(
                "Once the cause is corrected, they are tried again by themselves. To have the next "
                "run try them: `reconciler quarantine retry`."
            )
    raise click.exceptions.Exit(1 if cells else 0)


@quarantine.command("choose")
@_CLIENT
@click.argument("record_id")
@click.argument("field")
@click.option("--take", type=click.Choice(["airtable", "postgres"]), required=True)
@as_one_object
def choose_(client_id: str | None, record_id: str, field: str, take: Side, as_json: bool) -> None:
    """Choose which side's value to keep, for a cell that both sides edited and whose field is on
    hold.

    The next run carries that value over; the other one is kept in the conflict log. Exit code 2
    where no such cell waits.
    """
    settings = Settings.load()
    portal = open_portal(settings)
    pairs = [
        Pair(client.id, sync)
        for client in chosen_clients(portal, client_id)
        for sync in maps(settings, client.base_id).values()
    ]
    run_id = f"choice by {getpass.getuser()}"
    with portal.begin() as connection:
        done = any(choose(connection, pair, run_id, record_id, field, take) for pair in pairs)
    if not done:
        raise ConfigurationError(
            f"{field} of {record_id} does not wait for a choice: see `reconciler quarantine list`."
        )
    if as_json:
        echo_json({"record_id": record_id, "field": field, "take": take})
    else:
        click.echo(f"The next run carries over what {take.title()} has.")


def _alike(cells: Sequence[Held]) -> list[list[Held]]:
    """The cells, those together of which there are many with one field and one reason."""
    found: dict[tuple[str, str, str, str], list[Held]] = {}
    for cell in cells:
        key = (cell.client_id, cell.field, cell.direction, cell.reason)
        found.setdefault(key, []).append(cell)
    return [
        part
        for same in found.values()
        for part in ([same] if len(same) > TOLD_SINGLY else [[cell] for cell in same])
    ]


@quarantine.command("retry")
@_CLIENT
@click.option("--record", "record_id", help="One Airtable record.")
@click.option("--field", help="One mapped column.")
@as_one_object
def retry_(client_id: str | None, record_id: str | None, field: str | None, as_json: bool) -> None:
    """Have the next run try cells again, with their current values: all, or those chosen.

    Exit code 2 where no such cell is in quarantine.
    """
    settings = Settings.load()
    with open_portal(settings).begin() as connection:
        count = retry_chosen(connection, mapped_columns(settings), client_id, record_id, field)
    if as_json:
        echo_json({"retried": count})
        return
    are = "is" if count == 1 else "are"
    click.echo(f"{counted(count, 'cell')} {are} tried again by the next run.")
