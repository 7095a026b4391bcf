"""`reconciler pause` and `resume`: the consent to a client, taken back for a while."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import click
from sqlalchemy import Connection

from reconciler_dagster.cli.output import as_one_object, echo_json
from reconciler_dagster.config import Settings
from reconciler_dagster.postgres import adoption
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.portal import open_portal

_CLIENT = click.option("--client", "client_id", required=True, help="Id of the client.")


@click.command()
@_CLIENT
@as_one_object
def pause(client_id: str, as_json: bool) -> None:
    """Write nothing of a client until it is resumed.

    A run that is writing for it stops at its next write; nothing is lost, edits are noted
    meanwhile. Runs of the client end with exit code 1 until then.
    """
    _change(client_id, adoption.pause, "is paused", as_json)


@click.command()
@_CLIENT
@as_one_object
def resume(client_id: str, as_json: bool) -> None:
    """Write a paused client again; what was edited meanwhile is carried over."""
    _change(client_id, adoption.resume, "goes on with the next run", as_json)


def _change(
    client_id: str, change: Callable[[Connection, str, str], bool], done: str, as_json: bool
) -> None:
    with open_portal(Settings.load()).begin() as connection:
        client = find_client(connection, client_id)
        changed = change(connection, client.id, getpass.getuser())
        state = adoption.standing(connection, client.id).state
    if as_json:
        echo_json({"client_id": client.id, "state": state.value, "changed": changed})
    else:
        click.echo(f"{client.name} {done}{'' if changed else ', as it was'}.")
