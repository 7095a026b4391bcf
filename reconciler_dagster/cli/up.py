"""`reconciler up`: everything from one command."""

from __future__ import annotations

import click

from reconciler_dagster.supervisor.plan import PORTS
from reconciler_dagster.supervisor.stack import LEADS, ChildDied, Stack


@click.command()
@click.option("--dagster-port", default=PORTS["dagster"], show_default=True, help="Dagster UI.")
@click.option("--sandbox-port", default=PORTS["sandbox"], show_default=True, help="Sandbox.")
@click.option("--portal-port", default=PORTS["portal"], show_default=True, help="Portal.")
@click.option("--leads", default=LEADS, show_default=True, help="Leads to seed in a new sandbox.")
def up(dagster_port: int, sandbox_port: int, portal_port: int, leads: int) -> None:
    """Start everything that is not configured, on loopback.

    Postgres, the Airtable sandbox, the migrations, Dagster and the portal; Ctrl-C ends all of
    them. What DATABASE_URL, AIRTABLE_API_KEY and DAGSTER_POSTGRES_URL name is used as it is, and
    no substitute is started for it. A port that is taken gives way to the next free one.
    """
    ports = {"dagster": dagster_port, "sandbox": sandbox_port, "portal": portal_port}
    try:
        Stack(ports, leads).run()
    except ChildDied as error:
        raise click.ClickException(str(error)) from None
