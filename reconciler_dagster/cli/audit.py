"""`reconciler audit`, `status` and `deletions`: the proof, and what is gone."""

from __future__ import annotations

import getpass
from typing import Literal

import click
import dagster as dg

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.cli.run import exit_code, show
from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration.execute import (
    audit_clients,
    chosen_clients,
    decide_deletions,
    open_portal,
)
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.postgres import tombstones
from reconciler_dagster.postgres.report import drift_report

one_client = click.option(
    "--client", "client_id", help="Id of one client; all active ones unless given."
)
as_one_object = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@one_client
@as_one_object
def audit(client_id: str | None, as_json: bool) -> None:
    """Prove the stalest leads, as many as the calls of this hour allow.

    Does nothing where RECONCILER_AUDIT_CALLS_PER_HOUR are spent already. Exit codes as of `run`.
    """
    settings = Settings.load()
    dagster_home()
    results = []
    with dg.DagsterInstance.get() as instance:
        for result in audit_clients(settings, instance, client_id):
            results.append(result)
            if not as_json:
                show(result, dry_run=False)
            for reason in result.attention:
                click.echo(f"{result.client.name}: {reason}", err=True)
    if as_json:
        echo_json({"clients": [result.as_json() for result in results]})
    raise click.exceptions.Exit(exit_code(results))


@click.command()
@one_client
@as_one_object
def status(client_id: str | None, as_json: bool) -> None:
    """Say how far Airtable, Postgres and the baseline agree.

    From what Postgres knows: no call is made.
    """
    portal = open_portal(Settings.load())
    clients = chosen_clients(portal, client_id)
    with portal.connect() as connection:
        reports = [drift_report(connection, client.id) for client in clients]
    if as_json:
        echo_json({"clients": reports})
        return
    for report in reports:
        click.echo(f"{report['company_name']} ({report['client_id']})")
        leads = report["leads"]
        click.echo(
            f"  leads: {leads['airtable']} in Airtable, {leads['postgres']} active in Postgres, "
            f"{leads['baseline']} agreed on"
        )
        fields = ", ".join(f"{k} {n}" for k, n in report["differing_fields"].items()) or "none"
        click.echo(f"  fields that differ from what was agreed on: {fields}")
        click.echo(
            f"  unsettled: {report['unsettled']}, quarantine: {report['quarantine']}, "
            f"deletions waiting: {report['deletions_pending']}, missing: {report['missing']}"
        )
        click.echo(
            f"  stalest lead verified: {report['oldest_verified_at'] or 'never'}, "
            f"never verified: {report['never_verified']}, "
            f"last success: {report['last_success_at'] or 'never'}"
        )


@click.group()
def deletions() -> None:
    """Leads that Airtable no longer has, where a person must decide."""


@deletions.command("list")
@one_client
@as_one_object
def list_deletions(client_id: str | None, as_json: bool) -> None:
    """List what is missing, what waits for approval, and what was deleted."""
    portal = open_portal(Settings.load())
    clients = chosen_clients(portal, client_id)
    with portal.connect() as connection:
        found = {client: tombstones.load(connection, client.id).values() for client in clients}
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
        return
    for row in rows:
        click.echo(
            f"{row['record_id']}  {row['state']:<17}  since {row['missing_since']}  {row['reason']}"
        )
    if not rows:
        click.echo("No lead is missing from Airtable.")


def _decide(
    decision: Literal["approve", "reject"],
    client_id: str | None,
    record_ids: tuple[str, ...],
    every: bool,
    as_json: bool,
) -> None:
    if bool(record_ids) == every:
        raise click.UsageError("Name the record ids, or say --all.")
    settings = Settings.load()
    dagster_home()
    with dg.DagsterInstance.get() as instance:
        done = decide_deletions(
            settings, instance, client_id, decision, list(record_ids) or None, getpass.getuser()
        )
    if as_json:
        echo_json({"clients": [result.as_json() for result in done]})
    else:
        for result in done:
            click.echo(
                f"{result.client.name}: {result.counts.deletions} leads deleted, "
                f"{result.counts.deletions_pending} deletions still waiting."
            )
    for result in done:
        for reason in result.attention:
            click.echo(f"{result.client.name}: {reason}", err=True)
    raise click.exceptions.Exit(exit_code(done))


record_ids_argument = click.argument("record_ids", nargs=-1)
all_of_them = click.option("--all", "every", is_flag=True, help="All that wait.")


@deletions.command()
@record_ids_argument
@all_of_them
@one_client
@as_one_object
def approve(record_ids: tuple[str, ...], every: bool, client_id: str | None, as_json: bool) -> None:
    """Delete leads that wait for approval, unless their records are back meanwhile.

    Soft: the row and its log stay, and come back if the record is restored in Airtable.
    """
    _decide("approve", client_id, record_ids, every, as_json)


@deletions.command()
@record_ids_argument
@all_of_them
@one_client
@as_one_object
def reject(record_ids: tuple[str, ...], every: bool, client_id: str | None, as_json: bool) -> None:
    """Keep leads although Airtable no longer has their records; they are not asked for again."""
    _decide("reject", client_id, record_ids, every, as_json)
