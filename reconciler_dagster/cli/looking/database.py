"""What the doctor looks at in the portal's Postgres."""

from __future__ import annotations

from sqlalchemy import Engine, text

from reconciler_dagster.cli.looking.finding import State
from reconciler_dagster.config import (
    Settings,
    environment_name,
    environment_of_up,
    starts_by_itself,
)
from reconciler_dagster.core.adoption import State as Consent
from reconciler_dagster.core.guard import problems
from reconciler_dagster.postgres import adoption, deployments, guarded
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.guard import read_facts
from reconciler_dagster.postgres.listener import doorbell
from reconciler_dagster.postgres.migrate import is_current, tables_of
from reconciler_dagster.postgres.pooler import pooling
from reconciler_dagster.syncs.in_force import definitions, maps

OLDEST_POSTGRES = 13


def version(settings: Settings) -> tuple[State, str]:
    """The version of Postgres, which is thereby reached."""
    with engine(settings.require_database_url()).connect() as connection:
        version = str(connection.execute(text("SHOW server_version")).scalar())
    if int(version.partition(".")[0]) < OLDEST_POSTGRES:
        return "failed", f"version {version}, expected {OLDEST_POSTGRES} or newer"
    return "ok", f"version {version}"


def pooler(portal: Engine) -> tuple[State, str]:
    """Whether a pooler stands before Postgres, and what that means for runs."""
    return "ok", pooling(portal).value


def migrated(portal: Engine) -> tuple[State, str]:
    """Whether the schema `reconciler` is this version's."""
    if not is_current(portal):
        return "failed", "not at this version's migrations: run `reconciler migrate`"
    return "ok", "up to date"


def noted(settings: Settings, portal: Engine) -> tuple[State, str]:
    """Whether every edit is noted, and no row hidden."""
    with portal.connect() as connection:
        watched = tables_of(maps(settings).values())
        found = [problem for one in watched for problem in problems(read_facts(connection, one))]
    if not found:
        return (
            "ok",
            "the edits of every writer are noted, and no row is hidden from this database role",
        )
    state: State = "failed" if any(problem.stops for problem in found) else "warning"
    return state, " ".join(map(str, found))


def consent(settings: Settings, portal: Engine) -> tuple[State, str]:
    """A client that is new is no fault of the surroundings, nor is a sync."""
    with portal.connect() as connection:
        reasons = [s.why_not for s in adoption.standings(connection).values() if s.why_not]
        reasons += adoption.why_without(connection, definitions(settings))
    return "ok", " ".join(reasons) or "every active client is adopted"


def firing(settings: Settings, portal: Engine) -> tuple[State, str]:
    """Whether the first contact of a client would have one tell old news."""
    with portal.connect() as connection:
        awaited = any(s.state is Consent.NEW for s in adoption.standings(connection).values())
        tables = [sync.table for sync in maps(settings).values()]
        triggers = [t for table in tables for t in guarded.portal_triggers(connection, table)]
    telling = [t for t in triggers if t.fires_on_leads and not t.is_guarded]
    if not telling:
        return "ok", "none that would log old events as new"
    told = [f"{t.name}: {guarded.as_script(t.guard_sql)}" for t in telling]
    detail = (
        "at a client's first contact these fire for events of long ago; `reconciler adopt` says "
        "how often, and `reconciler adopt --guard-trigger NAME` keeps one from firing, with\n"
        + "\n".join(told)
    )
    return ("warning" if awaited else "ok"), detail


def doorbell_rings(portal: Engine) -> tuple[State, str]:
    """Whether a request starts a run at once."""
    with portal.connect() as connection:
        found = doorbell(connection)
    return "ok" if found.word in ("off", "listening") else "warning", found.sentence


def deployed(portal: Engine) -> tuple[State, str]:
    """Who starts runs on this database."""
    environment = environment_of_up() or environment_name()
    here = f"this environment: {environment}"
    if not starts_by_itself(environment):
        here += "; nothing starts by itself here, as RECONCILER_ENVIRONMENT is not production"
    with portal.connect() as connection:
        crowd = deployments.crowd(connection)
        found = deployments.seen_lately(connection)
    if crowd:
        return "warning", f"{crowd} ({here})"
    return "ok", f"{found[0] if found else 'none'} starts runs on this database; {here}"
