"""`reconciler tokens`: which Airtable token each client has, and how it is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler_dagster import redaction
from reconciler_dagster.cli.output import as_one_object, counted, echo_json
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.engine import tokens as resolving
from reconciler_dagster.environment import cleaned, require_token
from reconciler_dagster.postgres import client_tokens
from reconciler_dagster.postgres.client_tokens import Reference
from reconciler_dagster.postgres.clients import active_clients, find_client
from reconciler_dagster.postgres.portal import open_portal
from reconciler_dagster.sealing import CannotOpen, fresh_key

_CLIENT = click.option("--client", "client_id", required=True, help="Id of the client.")


@click.group()
def tokens() -> None:
    """Say which Airtable token each client has: its own, or AIRTABLE_API_KEY.

    A token of a client's own is read by each run where it is kept, so it is rotated without a
    restart: a variable, a file (a mounted secret), or the portal's database, encrypted with
    RECONCILER_TOKEN_KEYS.
    """


@tokens.command("list")
@as_one_object
def list_(as_json: bool) -> None:
    """Each active client and where its token is kept. Exit code 1 where one cannot be read here."""
    settings = Settings.load()
    with open_portal(settings).connect() as connection:
        clients = active_clients(connection)
        own = client_tokens.all_references(connection)
    rows = []
    for client in clients:
        reference = own.get(client.id)
        try:
            resolving.read(settings, client, reference)
            problem = None
        except ConfigurationError as error:
            problem = str(error)
        kept = resolving.where(reference)
        row = {"client_id": client.id, "client": client.name, "kept": kept, "problem": problem}
        rows.append(row)
    if as_json:
        echo_json({"tokens": rows})
    else:
        for row in rows:
            click.echo(f"{row['client_id']}  {row['client']}: {row['problem'] or row['kept']}")
    raise click.exceptions.Exit(1 if any(row["problem"] for row in rows) else 0)


@tokens.command("set")
@_CLIENT
@click.option("--env", "variable", help="Read it from a variable whose name begins with AIRTABLE_.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="Read it from a file.")
def set_(client_id: str, variable: str | None, path: Path | None) -> None:
    """Give a client a token of its own.

    With neither --env nor --file the token itself is read from stdin, or asked for, and kept
    encrypted in the portal's database. It is never an argument: those can be seen by others.
    """
    settings = Settings.load()
    portal = open_portal(settings)
    with portal.connect() as connection:
        client = find_client(connection, client_id)
    if variable is not None and path is not None:
        raise click.UsageError("Give --env or --file, not both.")
    if variable is not None:
        if not resolving.VARIABLE.fullmatch(variable):
            raise click.UsageError("--env: expected a variable whose name begins with AIRTABLE_.")
        given = Reference("env", variable)
    elif path is not None:
        if not path.is_absolute():
            raise click.UsageError("--file: expected an absolute path, as the runs will see it.")
        given = Reference("file", str(path))
    else:
        given = Reference("table", sealed=resolving.keys(settings).seal(client.id, _entered()))
    with portal.begin() as connection:
        client_tokens.put(connection, client.id, given)
    click.echo(
        f"{client.name}: from the next run on, its token is read from: {resolving.where(given)}."
    )


@tokens.command("unset")
@_CLIENT
def unset(client_id: str) -> None:
    """Give a client the default again, AIRTABLE_API_KEY."""
    with open_portal(Settings.load()).begin() as connection:
        client = find_client(connection, client_id)
        had = client_tokens.remove(connection, client.id)
    if had:
        click.echo(f"{client.name}: from the next run on, its token is AIRTABLE_API_KEY.")
    else:
        click.echo(f"{client.name} has no token of its own: nothing was changed.")


@tokens.command()
def rotate() -> None:
    """Encrypt what is kept in the database anew, with the first of RECONCILER_TOKEN_KEYS.

    Put a new key in front of the old one, everywhere; run this; then take the old one away.
    All or nothing: where a token cannot be opened, none is changed (exit code 2).
    """
    settings = Settings.load()
    keys = resolving.keys(settings)
    with open_portal(settings).begin() as connection:
        client_tokens.hold_all(connection)
        own = client_tokens.all_references(connection)
        kept = {client: one.sealed for client, one in own.items() if one.sealed is not None}
        for client, sealed in kept.items():
            try:
                anew = Reference("table", sealed=keys.seal_anew(sealed))
            except CannotOpen:
                raise ConfigurationError(
                    f"No key of RECONCILER_TOKEN_KEYS decrypts the token of client {client}; "
                    "none was changed. Add the old key, or set or unset that client's token first."
                ) from None
            client_tokens.put(connection, client, anew)
    click.echo(f"{counted(len(kept), 'token')} encrypted with the first key.")


@tokens.command("new-key")
def new_key() -> None:
    """Print a new key for RECONCILER_TOKEN_KEYS."""
    click.echo(fresh_key())


def _entered() -> str:
    text = click.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.read(5000)
    redaction.know(text)
    token = cleaned(text)
    if not token:
        raise click.UsageError("No token was entered: type it, or send it to stdin.")
    try:
        return require_token(token)
    except ValueError as why:
        raise click.UsageError(f"The token is not usable: {why}. Enter another one.") from None
