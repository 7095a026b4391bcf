"""`reconciler doctor`: each thing that a run needs, looked at one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from reconciler_dagster.cli.looking import clients, dagster, database, tables
from reconciler_dagster.cli.looking.finding import Finding, State
from reconciler_dagster.cli.looking.finding import tried as _try
from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.portal import switch_over
from reconciler_dagster.postgres import fights
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.portal import open_portal

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--switch-over",
    "switching_over",
    is_flag=True,
    help="Instead, check whether an older sync still writes, and count what must stay the same.",
)
def doctor(as_json: bool, switching_over: bool) -> None:
    """Check settings and surroundings.

    Looks, and writes nothing but its own calls into the call budget: one per client, and one for
    each token. Exit code 0: all well; 1: it runs, but something needs a person; 2: it cannot run.
    """
    findings = list(examine_switch_over() if switching_over else examine())
    states = {finding.state for finding in findings}
    if as_json:
        echo_json({"healthy": states <= {"ok", "skipped"}, "checks": [asdict(f) for f in findings]})
    else:
        _print(findings)
    # What is skipped for want of something comes with a failure; else there was nothing to look at.
    raise click.exceptions.Exit(2 if "failed" in states else 1 if "warning" in states else 0)


def examine() -> Iterator[Finding]:
    """Every check, in the order in which a person would mend things."""
    try:
        settings = Settings.load()
    except ConfigurationError as error:
        yield Finding("settings", "failed", str(error))
        return
    yield Finding("settings", "ok", "every setting can be read")

    yield (reached := _try("Postgres", lambda: database.version(settings)))
    portal = engine(settings.require_database_url()) if reached.state == "ok" else None
    migrated = None
    if portal is not None:
        yield _try("pooler", lambda: database.pooler(portal))
        yield (fit := _try("portal's tables", lambda: tables.fit(settings, portal)))
        yield (at := _try("migrations", lambda: database.migrated(portal)))
        if at.state == "ok":
            yield _try("edits are noted", lambda: database.noted(settings, portal))
        migrated = portal if {fit.state, at.state}.isdisjoint({"failed"}) else None
    if migrated is not None:
        yield _try("adoption", lambda: database.consent(settings, migrated))
        yield _try("triggers of the portal", lambda: database.firing(settings, migrated))
    own = clients.own_tokens(migrated)
    token = _try("Airtable token", lambda: clients.default_token(settings, own))
    yield token
    if migrated is not None and (token.state == "ok" or own):
        yield from clients.each_client(settings, migrated, own, token)
    else:
        yield Finding(
            "clients", "skipped", "needs Postgres, its tables, migrations and the token first"
        )
    if migrated is not None:
        yield _try("doorbell", lambda: database.doorbell_rings(migrated))
        yield _try("deployments", lambda: database.deployed(migrated))
        yield _try("Dagster's daemon", lambda: dagster.daemon(migrated))
    yield _try("Dagster storage", dagster.storage)


def examine_switch_over() -> Iterator[Finding]:
    """What a person looks at before and after an older sync has been stopped."""
    try:
        portal = open_portal(Settings.load())
    except ConfigurationError as error:
        yield Finding("Postgres", "failed", str(error))
        return
    for name, look_at in switch_over.CHECKS.items():
        yield _try(name, lambda: switch_over.look(portal, look_at))  # noqa: B023
    with portal.connect() as connection:
        fights_of = fights.sentences_by_client(connection)
        for client in active_clients(connection):
            fought = fights_of[client.id]
            state: State = "warning" if fought else "ok"
            yield Finding(
                f"client {client.name}",
                state,
                " ".join(fought) or "no other program writes against the engine",
            )


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Check", "", "Found", box=None, pad_edge=False)
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(Text(finding.check), state, Text(finding.detail))
    Console().print(table)
