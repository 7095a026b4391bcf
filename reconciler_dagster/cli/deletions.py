"""`reconciler deletions`: leads that are gone from Airtable, and a person's word on them."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Literal

import click

from reconciler_dagster.cli.output import (
    as_one_object,
    counted,
    echo_json,
    one_client,
    say_if_nobody,
)
from reconciler_dagster.cli.results import exit_code
from reconciler_dagster.config import Settings
from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres import tombstones
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.portal import chosen_clients, open_portal
from reconciler_dagster.postgres.tombstones import Tombstone
from reconciler_dagster.syncs.in_force import maps

if TYPE_CHECKING:  # with Dagster: a list needs none
    from reconciler_dagster.orchestration.execute import Decided


@click.group()
def deletions() -> None:
    """Leads that Airtable no longer has, where a person must decide."""


@deletions.command("list")
@one_client
@as_one_object
def list_deletions(client_id: str | None, as_json: bool) -> None:
    """List what is missing, what waits for approval, and what was deleted.

    Exit code 1 while any deletion waits for approval.
    """
    found = _known(Settings.load(), client_id)
    rows = [
        {
            "client_id": client.id,
            "record_id": stone.record_id,
            "lead_id": stone.lead_id,
            "state": stone.state.value,
            "listings": stone.listings,
            "missing_since": stone.missing_since.isoformat(),
            "reason": stone.reason,
        }
        for client, stones in found.items()
        for stone in stones
    ]
    if as_json:
        echo_json({"deletions": rows})
    else:
        for row in rows:
            click.echo(
                f"{row['record_id']}  {row['state']:<17}  since {row['missing_since']}  "
                f"{row['reason']}"
            )
        if not rows:
            click.echo("No lead is missing from Airtable.")
    waiting = sum(row["state"] == State.AWAITING_APPROVAL for row in rows)
    if waiting and not as_json:
        click.echo(
            f"{counted(waiting, 'deletion')} waiting for approval. If they are meant, run "
            "`reconciler deletions approve`; to keep the leads, `reconciler deletions reject`; "
            "both take record ids or --all. If it was an accident, restore the records in Airtable."
        )
    missing = sum(row["state"] == State.MISSING for row in rows)
    if missing and not as_json:
        click.echo(_not_yet(missing))
    raise click.exceptions.Exit(1 if waiting else 0)


def _known(settings: Settings, client_id: str | None) -> dict[Client, list[Tombstone]]:
    """What is known of the records that are gone, or were, by client."""
    portal = open_portal(settings)
    with portal.connect() as connection:
        return {
            client: [
                stone
                for sync in maps(settings, client.base_id).values()
                for stone in tombstones.load(connection, Pair(client.id, sync)).values()
            ]
            for client in chosen_clients(portal, client_id)
        }


def _not_yet(missing: int) -> str:
    """Why nobody is asked about these yet, and what makes it so."""
    return (
        f"{counted(missing, 'record')} missing so far: nothing is done, and nobody asked, before "
        "a second listing by another run agrees. A later audit makes one, or run "
        "`reconciler great-sync` again."
    )


def _decide(
    decision: Literal["approve", "reject"],
    client_id: str | None,
    record_ids: tuple[str, ...],
    every: bool,
    as_json: bool,
) -> None:
    if bool(record_ids) == every:
        raise click.UsageError("Name the record ids, or say --all.")
    from reconciler_dagster.orchestration.execute import decide_deletions
    from reconciler_dagster.orchestration.instance import dagster_instance

    settings = Settings.load()
    with dagster_instance(settings) as instance:
        done = decide_deletions(
            settings, instance, client_id, decision, list(record_ids) or None, getpass.getuser()
        )
    say_if_nobody(done)
    if as_json:
        echo_json({"clients": [r.as_json() | {"decided": r.decided} for r in done]})
    for result in done:
        if not as_json:
            click.echo(f"{result.client.name}: {_outcome(decision, result)}.")
            if not result.decided and not result.attention:
                stones = _known(settings, result.client.id)[result.client]
                missing = sum(stone.state == State.MISSING for stone in stones)
                if missing:
                    click.echo(f"{result.client.name}: {_not_yet(missing)}")
        for reason in result.attention:
            click.echo(f"{result.client.name}: {reason}", err=True)
    raise click.exceptions.Exit(exit_code(done))


def _outcome(decision: Literal["approve", "reject"], result: Decided) -> str:
    waiting = f"{counted(result.counts.deletions_pending, 'deletion')} still waiting"
    if decision == "reject":
        stay = "the lead stays" if result.decided == 1 else "the leads stay"
        return f"{counted(result.decided, 'deletion')} rejected; {stay}; {waiting}"
    deleted = f"{counted(result.counts.deletions, 'lead')} deleted"
    if result.counts.deletions < result.decided:
        deleted += (
            f" of {result.decided} approved (the others are back in Airtable, inactive already, or "
            "being edited and deleted by the next run)"
        )
    return f"{deleted}; {waiting}"


record_ids_argument = click.argument("record_ids", nargs=-1)
all_of_them = click.option("--all", "every", is_flag=True, help="All that wait.")


@deletions.command()
@record_ids_argument
@all_of_them
@one_client
@as_one_object
def approve(record_ids: tuple[str, ...], every: bool, client_id: str | None, as_json: bool) -> None:
    """Delete leads that wait for approval, unless their records are back in Airtable.

    The row and its log stay: the lead is only archived, and active again if the record is restored
    in Airtable. Exit code 2, and nothing is done, where one of the ids does not wait.
    """
    _decide("approve", client_id, record_ids, every, as_json)


@deletions.command()
@record_ids_argument
@all_of_them
@one_client
@as_one_object
def reject(record_ids: tuple[str, ...], every: bool, client_id: str | None, as_json: bool) -> None:
    """Keep leads although Airtable no longer has their records; nobody is asked again."""
    _decide("reject", client_id, record_ids, every, as_json)
