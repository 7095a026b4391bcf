"""`reconciler serve`: one process of a deployment, in a container or under systemd."""

from __future__ import annotations

import os

import click

from reconciler_dagster.deploying import health
from reconciler_dagster.deploying.roles import EVERYWHERE, ROLES, Chosen, python_command

_NAMES = "\n\n".join(f"{name}: {role.what}" for name, role in ROLES.items())


@click.command(
    help="Run one process of a deployment in the foreground; SIGTERM ends it in order.\n\n"
    f"{_NAMES}\n\nAll read the same settings. Without DAGSTER_HOME a home is made in "
    "RECONCILER_STATE_DIR, with the settings that RECONCILER_RUN_LAUNCHER asks for; nothing else "
    "is written. With --check it looks whether that process is well on this host, and ends with 0 "
    "or 1."
)
@click.argument("role", type=click.Choice(list(ROLES)), envvar="RECONCILER_ROLE")
@click.option("--check", is_flag=True, help="Look whether it is well, and end.")
@click.option("--host", default=EVERYWHERE, show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="PORT",
    help="Where to listen; each role has a port of its own unless set.",
)
@click.option(
    "--slots",
    type=click.IntRange(1, 200),
    envvar="RECONCILER_WORKER_SLOTS",
    default=3,
    show_default=True,
    help="Runs at a time of a worker.",
)
@click.option(
    "--manual-only", is_flag=True, help="A worker for runs that a person waits for, and no others."
)
def serve(
    role: str, check: bool, host: str, port: int | None, slots: int, manual_only: bool
) -> None:
    """Become the process, or look at it."""
    of_role = ROLES[role]
    chosen = Chosen(host, port or of_role.port, 1 if manual_only else slots, manual_only)
    if check:
        try:
            of_role.check(chosen)
        except health.Unwell as error:
            raise click.ClickException(f"{role}: {error}") from None
        click.echo(f"{role}: well")
        return
    if of_role.needs_home:
        from reconciler_dagster.orchestration.home import dagster_home

        dagster_home()
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "true")
    command = python_command(of_role.command(chosen))
    os.execv(command[0], command)  # nosec B606  # our own Python, with our own arguments
