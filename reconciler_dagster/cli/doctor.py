"""`reconciler doctor`: each thing that a run needs, looked at one by one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click
from sqlalchemy import Engine, text

from reconciler_dagster.cli.output import counted, echo_json, keep_trace
from reconciler_dagster.config import (
    ConfigurationError,
    Settings,
    environment_name,
    starts_by_itself,
)
from reconciler_dagster.core.adoption import State as Consent
from reconciler_dagster.core.guard import Unfit, problems
from reconciler_dagster.portal import switch_over
from reconciler_dagster.postgres import (
    adoption,
    client_tokens,
    deployments,
    fights,
    guarded,
)
from reconciler_dagster.postgres.client_tokens import Reference
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.guard import look
from reconciler_dagster.postgres.listener import doorbell
from reconciler_dagster.postgres.migrate import is_current, tables_of
from reconciler_dagster.postgres.pooler import Pooling, pooling
from reconciler_dagster.postgres.portal import open_portal
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
@click.option(
    "--switch-over",
    "switching_over",
    is_flag=True,
    help="Look instead whether an older sync is still writing, and what to count before and after.",
)
def doctor(as_json: bool, switching_over: bool) -> None:
    """Check settings and surroundings.

    Looks, and writes nothing but its own calls into the call budget: one per client, and one for
    each token. Exit code 0: all well; 1: it runs, but something needs a person; 2: it cannot run.
    """
    findings = list(examine_switch_over() if switching_over else examine())
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
            yield _try("adoption", lambda: _adoption(portal))
            yield _try("triggers of the portal", lambda: _triggers(settings, portal))
    migrated_portal = portal if portal is not None and migrated.state == "ok" else None
    own = _own_tokens(migrated_portal)
    token = _try("Airtable token", lambda: _token(settings, own))
    yield token
    if migrated_portal is not None and (token.state == "ok" or own):
        yield from _clients(settings, migrated_portal, own, token)
    else:
        yield Finding("clients", "skipped", "needs Postgres, migrations and the token first")
    if portal is not None and migrated.state == "ok":
        yield _try("doorbell", lambda: _doorbell(portal))
        yield _try("deployments", lambda: _deployments(portal))
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


def _adoption(portal: Engine) -> tuple[State, str]:
    """A client that is new is no fault of the surroundings."""
    with portal.connect() as connection:
        reasons = [s.why_not for s in adoption.standings(connection).values() if s.why_not]
    return "ok", " ".join(reasons) or "every active client is adopted"


def _triggers(settings: Settings, portal: Engine) -> tuple[State, str]:
    """Whether the first contact of a client would have one tell old news."""
    with portal.connect() as connection:
        awaited = any(s.state is Consent.NEW for s in adoption.standings(connection).values())
        tables = [sync.table for sync in maps(settings).values()]
        triggers = [t for table in tables for t in guarded.portal_triggers(connection, table)]
    telling = [t for t in triggers if t.fires_on_leads and not t.is_guarded]
    if not telling:
        return "ok", "none that would tell old news"
    told = [f"{t.name}: {guarded.as_script(t.guard_sql)}" for t in telling]
    detail = (
        "at a client's first contact these fire for what was long ago; `reconciler adopt` says how "
        "often, and --guard-trigger NAME keeps one from it, by\n" + "\n".join(told)
    )
    return ("warning" if awaited else "ok"), detail


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
        for client in active_clients(connection):
            fought = fights.sentences(connection, client.id)
            state: State = "warning" if fought else "ok"
            yield Finding(f"client {client.name}", state, " ".join(fought) or "nobody fights")


def _doorbell(portal: Engine) -> tuple[State, str]:
    with portal.connect() as connection:
        found = doorbell(connection)
    return "ok" if found.word in ("off", "listening") else "warning", found.sentence


def _deployments(portal: Engine) -> tuple[State, str]:
    here = f"this environment: {environment_name()}"
    if not starts_by_itself():
        here += "; nothing starts by itself here, as RECONCILER_ENVIRONMENT is not production"
    with portal.connect() as connection:
        crowd = deployments.crowd(connection)
        found = deployments.seen_lately(connection)
    if crowd:
        return "warning", f"{crowd} ({here})"
    return "ok", f"{found[0] if found else 'none'} starts runs on this database; {here}"


def _own_tokens(portal: Engine | None) -> dict[str, Reference]:
    """By client. Without a database, or where that cannot be asked, nobody is known to have one."""
    if portal is None:
        return {}
    with portal.connect() as connection:
        return client_tokens.all_references(connection)


def _token(settings: Settings, own: dict[str, Reference]) -> tuple[State, str]:
    if settings.airtable_api_key is None and own:
        return "ok", f"no default; {counted(len(own), 'client')} with one of their own"
    return _owner(settings, settings.require_api_key())


def _owner(settings: Settings, token: str) -> tuple[State, str]:
    from reconciler_dagster.airtable.owner import NEEDED_SCOPES, token_owner

    owner = token_owner(settings, token)
    said = f"belongs to user {owner.user} at {settings.airtable_endpoint_url}"
    if owner.missing:
        return "failed", f"{said}, and lacks the scopes {', '.join(owner.missing)}: add them"
    if owner.scopes is None:
        return "ok", f"{said}; it needs no other scopes than {', '.join(NEEDED_SCOPES)}"
    if owner.needless:
        needless = ", ".join(owner.needless)
        return "ok", f"{said}; of its scopes nothing here needs {needless}: take them away"
    return "ok", f"{said}, with no more scopes than are needed"


def _clients(
    settings: Settings, portal: Engine, own: dict[str, Reference], default: Finding
) -> Iterator[Finding]:
    try:
        with portal.connect() as connection:
            clients = active_clients(connection)
    except Unfit as error:
        yield Finding("clients", "failed", str(error))
        return
    if not clients:
        yield Finding("clients", "warning", "there is no active client: nothing would be synced")
    for client in clients:
        if client.id in own:
            given = own[client.id]
            found = _try(f"token of {client.name}", lambda: _own(settings, client, given))  # noqa: B023
            yield found
        else:
            found = default
        if found.state == "failed":
            yield Finding(f"client {client.name}", "skipped", "needs its token first")
            continue
        yield _try(f"client {client.name}", lambda: _client(settings, portal, client))  # noqa: B023


def _own(settings: Settings, client: Client, given: Reference) -> tuple[State, str]:
    from reconciler_dagster.airtable.errors import TokenRefused
    from reconciler_dagster.engine import tokens

    place = tokens.where(given)
    try:
        state, said = _owner(settings, tokens.read(settings, client, given))
    except TokenRefused:
        return "failed", f"{place}: not accepted by Airtable; set it to a valid one"
    return state, f"{place}: {said}"


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
