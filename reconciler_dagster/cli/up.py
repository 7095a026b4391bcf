"""`reconciler up`: everything from one command."""

from __future__ import annotations

import sys

import click

from reconciler_dagster.supervisor.plan import PORTS
from reconciler_dagster.supervisor.stack import DEMO_LEADS, ChildDied, Stack

_PORT = click.IntRange(1, 65535)


@click.command(context_settings={"show_default": True})
@click.option("--dagster-port", type=_PORT, default=PORTS["dagster"], help="Dagster UI.")
@click.option("--sandbox-port", type=_PORT, default=PORTS["sandbox"], help="Sandbox.")
@click.option("--portal-port", type=_PORT, default=PORTS["portal"], help="Portal.")
@click.option(
    "--leads",
    type=click.IntRange(0),
    default=DEMO_LEADS,
    show_default=True,
    help="Leads to seed in a new sandbox.",
)
@click.option(
    "--migrate", is_flag=True, help="Migrate the database of DATABASE_URL without asking."
)
def up(dagster_port: int, sandbox_port: int, portal_port: int, leads: int, migrate: bool) -> None:
    """Start everything that is not configured, on loopback.

    Postgres, the Airtable sandbox, the migrations, Dagster and the portal; Ctrl-C ends all of
    them. What DATABASE_URL, AIRTABLE_API_KEY and DAGSTER_POSTGRES_URL name is used as it is, and
    no substitute is started for it; a database that is not this command's own is migrated only
    with --migrate or a yes at the prompt, and no lead of it is written before `reconciler adopt`.
    A port that is taken gives way to the next free one.
    """
    ports = {"dagster": dagster_port, "sandbox": sandbox_port, "portal": portal_port}
    try:
        Stack(ports, leads, lambda: migrate or _ask()).run()
    except ChildDied as error:
        raise click.ClickException(str(error)) from None


def _ask() -> bool:
    """A yes at the prompt; where nobody sits before one, it is a no."""
    return sys.stdin.isatty() and click.confirm(
        "The database of DATABASE_URL is not at this version's migrations. Migrate it now? No row, "
        "column, index or trigger of the portal's is touched."
    )
