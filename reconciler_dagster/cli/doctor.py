"""`reconciler doctor`: each thing that a run needs, looked at one by one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click
from sqlalchemy import Engine, text

from reconciler_dagster.cli.output import echo_json, keep_trace
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.guard import Unfit, problems
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.guard import look
from reconciler_dagster.postgres.listener import doorbell
from reconciler_dagster.postgres.migrate import is_current, tables_of
from reconciler_dagster.postgres.pooler import Pooling, pooling
from reconciler_dagster.syncs.in_force import maps
from reconciler_dagster.telling import is_foreseen, told

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
        yield _try("pooler", lambda: ("ok", pooling(portal).value))
        yield (migrated := _try("migrations", lambda: _migrations(portal)))
        if migrated.state == "ok":
            yield _try("edits are noted", lambda: _noted(settings, portal))
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
    except Exception as error:
        # A trace is kept only where the sentence names it.
        return Finding(check, "failed", told(error, "" if is_foreseen(error) else keep_trace()))


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


def _noted(settings: Settings, portal: Engine) -> tuple[State, str]:
    with portal.connect() as connection:
        watched = tables_of(maps(settings).values())
        found = [problem for one in watched for problem in problems(look(connection, one))]
    if not found:
        return "ok", "every writer's, and nothing is hidden from this database role"
    state: State = "failed" if any(problem.stops for problem in found) else "warning"
    return state, " ".join(map(str, found))


def _doorbell(portal: Engine) -> tuple[State, str]:
    with portal.connect() as connection:
        found = doorbell(connection)
    return "ok" if found.word in ("off", "listening") else "warning", found.sentence


def _token(settings: Settings) -> tuple[State, str]:
    from reconciler_dagster.airtable.owner import token_owner

    return "ok", f"belongs to user {token_owner(settings)} at {settings.airtable_endpoint_url}"


def _clients(settings: Settings, portal: Engine) -> Iterator[Finding]:
    try:
        with portal.connect() as connection:
            clients = active_clients(connection)
    except Unfit as error:
        yield Finding("clients", "failed", str(error))
        return
    if not clients:
        yield Finding("clients", "warning", "there is no active client: nothing would be synced")
    for client in clients:
        yield _try(f"client {client.name}", lambda: _client(settings, portal, client))  # noqa: B023


def _client(settings: Settings, portal: Engine, client: Client) -> tuple[State, str]:
    from reconciler_dagster.engine.session import Session

    wrong: list[str] = []
    notes: list[str] = []
    fields = 0
    for sync in maps(settings, client.base_id).values():
        session = Session(settings, portal, client, sync, "doctor", "audit", dry_run=True)
        bound = session.check_mapping(force=True)
        wrong += [*bound.problems, *bound.unfilled, *([session.moved] if session.moved else [])]
        notes += bound.notes
        fields += len(sync.fields)
    if wrong:
        return "warning", f"base {client.base_id}: {' '.join(wrong)}"
    return "ok", " ".join([f"base {client.base_id}: all {fields} mapped fields fit.", *notes])


def _dagster_storage() -> tuple[State, str]:
    url = Settings.load().dagster_postgres_url
    behind = ""
    if url is not None and pooling(engine(url.get_secret_value())) is Pooling.TRANSACTION:
        behind = (
            ", behind a pooler in transaction mode: all works; give dagster-webserver a database "
            "user of its own, for its statement timeout stays on connections that others get"
        )
    # In a process of its own: Dagster takes longer to import than all other checks together.
    done = subprocess.run(
        [sys.executable, "-m", "reconciler_dagster.orchestration.instance"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return "ok", f"{done.stdout.strip()}{behind}"
    if done.returncode == 2:
        return "failed", done.stdout.strip()
    kept = keep_trace(done.stderr)
    return "failed", f"its check ended with {done.returncode} (the whole story: {kept})"


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Check", "", "Found", box=None, pad_edge=False)
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(Text(finding.check), state, Text(finding.detail))
    Console().print(table)
