"""`reconciler adopt`: see what a client's first contact would do, and say yes to it."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from reconciler_dagster.cli.output import as_one_object, echo_json, one_client
from reconciler_dagster.cli.results import exit_code, show
from reconciler_dagster.config import Settings
from reconciler_dagster.core.adoption import State
from reconciler_dagster.core.report_lines import lines

if TYPE_CHECKING:  # with Dagster
    from reconciler_dagster.orchestration.adopt import Adoption


@click.command()
@one_client
@click.option("--approve", is_flag=True, help="Adopt, and carry out what was shown.")
@click.option(
    "--guard-trigger",
    "triggers",
    multiple=True,
    metavar="NAME",
    help="Keep a trigger of the portal's from firing at the first contact; `migrate --down` takes "
    "that back. May be given several times.",
)
@as_one_object
def adopt(client_id: str | None, approve: bool, triggers: tuple[str, ...], as_json: bool) -> None:
    """Rehearse what adopting a client would do, and with --approve do it.

    Nothing of a client is written, on either side, before it is adopted. The rehearsal lists the
    base, compares, and tries every write to Postgres in transactions that are rolled back. An
    approval holds for what was shown: where more would be done by now (by 10 and 1 % of any
    figure), the report is shown again. Without an earlier report --approve goes on only where
    nothing is refused and no trigger of the portal's writes rows. A sync that an adopted client
    got since is new by itself. All that is new unless a client is named. Exit code 1: something
    needs a person; 2: a setting, a base or the field map is wrong.
    """
    settings = Settings.load()
    if triggers:
        _guard(settings, triggers)
    from reconciler_dagster.orchestration.adopt import adopt_clients
    from reconciler_dagster.orchestration.instance import dagster_instance

    results = []
    with dagster_instance(settings) as instance:
        for result in adopt_clients(
            settings, instance, client_id, getpass.getuser(), approve=approve
        ):
            results.append(result)
            if not as_json:
                _show(result)
            for reason in result.attention:
                click.echo(f"{result.client.name}: {reason}", err=True)
    if not results:
        click.echo(
            "Nothing is new: every active client is adopted, with all of its syncs.", err=True
        )
    if as_json:
        echo_json({"clients": [result.as_json() for result in results]})
    raise click.exceptions.Exit(exit_code(results))


def _guard(settings: Settings, names: tuple[str, ...]) -> None:
    from reconciler_dagster.postgres.guarded import as_script, guard
    from reconciler_dagster.postgres.portal import open_portal
    from reconciler_dagster.syncs.in_force import maps

    tables = [sync.table for sync in maps(settings).values()]
    with open_portal(settings).begin() as connection:
        for name in names:
            statements = guard(connection, name, getpass.getuser(), tables)
            click.echo(f"Guarded {name}:\n{as_script(statements)}", err=True)


def _show(result: Adoption) -> None:
    if result.report is not None:
        click.echo(f"{result.client.name} ({result.client.id}):")
        for line in lines(result.report):
            click.echo(f"  {line}")
    if result.state is State.ADOPTED and result.report is None:
        click.echo(f"{result.client.name} is adopted.")
    elif result.state is State.ADOPTED:
        click.echo(f"{result.client.name} is adopted. Its first contact:")
        show(result, dry_run=False)
    elif result.report is not None and not result.refusing:
        click.echo(
            "Nothing was written. If this is what is meant: "
            f"`reconciler adopt --client {result.client.id} --approve`."
        )
