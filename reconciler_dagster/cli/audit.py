"""`reconciler audit`: the hourly proof, now."""

from __future__ import annotations

import click

from reconciler_dagster.cli.output import as_one_object, echo_json, one_client, say_if_nobody
from reconciler_dagster.cli.results import exit_code, show
from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration.execute import audit_clients
from reconciler_dagster.orchestration.instance import dagster_instance


@click.command()
@one_client
@as_one_object
def audit(client_id: str | None, as_json: bool) -> None:
    """Prove the stalest leads, as many as the calls of this hour allow.

    Does nothing where RECONCILER_AUDIT_CALLS_PER_HOUR are spent already. Exit codes as of `run`.
    """
    settings = Settings.load()
    results = []
    with dagster_instance(settings) as instance:
        for result in audit_clients(settings, instance, client_id):
            results.append(result)
            if not as_json:
                show(result, dry_run=False)
            for reason in result.attention:
                click.echo(f"{result.client.name}: {reason}", err=True)
    say_if_nobody(results)
    if as_json:
        echo_json({"clients": [result.as_json() for result in results]})
    raise click.exceptions.Exit(exit_code(results))
