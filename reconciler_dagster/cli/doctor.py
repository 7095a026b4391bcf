"""`reconciler doctor`: each thing that a run needs, looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click
from sqlalchemy import Engine, text

from reconciler_dagster.cli.output import echo_json
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listener import doorbell
from reconciler_dagster.postgres.migrate import is_current

OLDEST_POSTGRES = 13

State = Literal["ok", "warning", "failed", "skipped"]
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at and what was found."""

    check: str
    state: State
    detail: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Check settings and surroundings.

    Looks, and writes nothing but its own calls into the call budget: one per client, and one for
    the token. Exit code 0: all well; 1: it runs, but something needs a person; 2: it cannot run.
    """
    findings = list(examine())
    states = {finding.state for finding in findings}
    if as_json:
        echo_json({"healthy": states <= {"ok"}, "checks": [asdict(f) for f in findings]})
    else:
        _print(findings)
    raise click.exceptions.Exit(2 if "failed" in states else 1 if states - {"ok"} else 0)


def examine() -> Iterator[Finding]:
    """Every check, in the order in which a person would mend things."""
    try:
        settings = Settings.load()
    except ConfigurationError as error:
        yield Finding("settings", "failed", str(error))
        return
    yield Finding("settings", "ok", "every setting can be read")

    portal = None
    yield (reached := _try("Postgres", lambda: _postgres(settings)))
    if reached.state == "ok":
        portal = engine(settings.require_database_url())
        yield (migrated := _try("migrations", lambda: _migrations(portal)))
    token = _try("Airtable token", lambda: _token(settings))
    yield token
    if portal is not None and migrated.state == "ok" and token.state == "ok":
        yield from _clients(settings, portal)
    else:
        yield Finding("clients", "skipped", "needs Postgres, migrations and the token first")
    if portal is not None and migrated.state == "ok":
        yield _try("doorbell", lambda: _doorbell(portal))
    yield _try("Dagster storage", _dagster_storage)


def _try(check: str, look: Callable[[], tuple[State, str]]) -> Finding:
    try:
        return Finding(check, *look())
    except ConfigurationError as error:
        return Finding(check, "failed", str(error))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return Finding(check, "failed", f"{type(error).__name__}: {first}")


def _postgres(settings: Settings) -> tuple[State, str]:
    with engine(settings.require_database_url()).connect() as connection:
        version = str(connection.execute(text("SHOW server_version")).scalar())
    if int(version.partition(".")[0]) < OLDEST_POSTGRES:
        return "failed", f"version {version}, expected {OLDEST_POSTGRES} or newer"
    return "ok", f"version {version}"


def _migrations(portal: Engine) -> tuple[State, str]:
    if not is_current(portal):
        return "failed", "not at this version's migrations: run `reconciler migrate`"
    return "ok", "up to date"


def _doorbell(portal: Engine) -> tuple[State, str]:
    with portal.connect() as connection:
        found = doorbell(connection)
    return "ok" if found.word in ("off", "listening") else "warning", found.sentence


def _token(settings: Settings) -> tuple[State, str]:
    from pyairtable import Api

    api = Api(
        settings.require_api_key(),
        endpoint_url=settings.airtable_endpoint_url.rstrip("/"),
        retry_strategy=None,
        timeout=(10, 30),
    )
    return "ok", f"belongs to user {api.whoami()['id']} at {settings.airtable_endpoint_url}"


def _clients(settings: Settings, portal: Engine) -> Iterator[Finding]:
    with portal.connect() as connection:
        clients = active_clients(connection)
    if not clients:
        yield Finding("clients", "warning", "there is no active client: nothing would be synced")
    for client in clients:
        yield _try(f"client {client.name}", lambda: _client(settings, portal, client))  # noqa: B023


def _client(settings: Settings, portal: Engine, client: Client) -> tuple[State, str]:
    from reconciler_dagster.core.fields import LEADS
    from reconciler_dagster.engine.session import Session

    session = Session(settings, portal, client, "doctor", "audit", dry_run=True)
    bound = session.check_mapping(force=True)
    if bound.problems:
        return "warning", f"base {client.base_id}: {' '.join(bound.problems)}"
    well = f"base {client.base_id}: all {len(LEADS.columns)} mapped fields fit."
    return "ok", " ".join([well, *bound.notes])


def _dagster_storage() -> tuple[State, str]:
    from dagster import DagsterInstance

    from reconciler_dagster.orchestration.home import dagster_home

    dagster_home()
    with DagsterInstance.get() as instance:
        kind = type(instance.run_storage).__name__.removesuffix("RunStorage")
        return "ok", f"{kind}, {instance.get_runs_count()} runs"


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Check", "", "Found", box=None, pad_edge=False)
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(Text(finding.check), state, Text(finding.detail))
    Console().print(table)
