"""What `reconciler up` says."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from reconciler_dagster.supervisor import demo
from reconciler_dagster.supervisor.plan import Plan

_TITLES = {"dagster": "Dagster UI", "sandbox": "Airtable sandbox", "portal": "Lead portal"}
_EDIT = (
    "UPDATE leads SET notes = 'Called back.' WHERE id = (SELECT id FROM leads LIMIT 1)",
    "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients",
)


def program() -> str:
    """How the command is to be typed here: `make demo` puts no folder on the PATH."""
    if shutil.which("reconciler"):
        return "reconciler"
    return os.path.relpath(Path(sys.executable).with_name("reconciler"))


def ready(plan: Plan, addresses: dict[str, str], logs: Path, seconds: float) -> str:
    """The addresses and what to try. No database URL is shown: a real one holds a password."""
    lines = [f"\nReady after {seconds:.0f} s. Ctrl-C stops everything.\n"]
    lines += [f"  {_TITLES[name]:<18}{url}" for name, url in addresses.items()]
    lines += [f"  {'Postgres':<18}{program()} psql", f"  {'Logs':<18}{logs}"]
    if plan.portal_postgres and not plan.sandbox and not plan.listed:
        lines += ["", "The portal is empty. Add a client with its base before anything can sync:"]
        lines += ["  INSERT INTO clients (company_name, airtable_base_id) VALUES ('...', 'app...')"]
    if plan.sandbox and not plan.is_demo:
        lines += ["", "Runs will fail: the sandbox does not hold your clients' bases.", _NO_KEY]
    return "\n".join([*lines, "", "Three things to try:", *_to_try(plan, addresses), ""])


_NO_KEY = (
    "Set AIRTABLE_API_KEY; or unset DATABASE_URL and RECONCILER_CLIENTS to have a demo "
    "portal to go with it."
)


def _to_look_at(plan: Plan, addresses: dict[str, str]) -> list[str]:
    """With real data: what changes nothing."""
    lines = [
        f"  1. {program()} doctor, which looks at everything that a run needs.",
        f"  2. {program()} adopt, which shows what a new client's first contact would do.",
    ]
    if "portal" in addresses:
        lines.append(f"  3. Sign in to {addresses['portal']} and look at Adoption;")
        lines.append(f"     or:  {program()} status")
    else:
        lines.append(f"  3. {program()} status, which says how far both sides agree.")
    return [*lines, "", "No lead of a client is written before somebody has adopted the client."]


def _to_try(plan: Plan, addresses: dict[str, str]) -> list[str]:
    if not plan.is_demo:
        return _to_look_at(plan, addresses)
    edit, request = _EDIT
    grid = f"in the sandbox's grid, {addresses['sandbox']}" if plan.sandbox else "in Airtable"
    lines = [f"  1. Edit a lead {grid}."]
    if "portal" in addresses:
        user = f" as {demo.CLIENT_USER}" if plan.is_demo else ""
        lines.append(f"  2. Sign in to {addresses['portal']}{user}, claim a lead, write a note;")
        lines.append(f'     or:  {program()} psql -c "{edit}"')
    else:
        lines.append(f'  2. Edit a lead in Postgres:  {program()} psql -c "{edit}"')
    lines.append(
        f"  3. Wait for the schedule at the next quarter of an hour, {addresses['dagster']},"
    )
    if plan.is_demo and "portal" in addresses:
        lines.append(f"     or press Manual Sync in the portal as {demo.CLIENT_ADMIN},")
    lines.append(f'     or:  {program()} psql -c "{request}"')
    return lines


def nothing_starts(environment: str) -> str:
    """RECONCILER_ENVIRONMENT says that this is not the deployment that syncs."""
    return (
        f"Nothing starts by itself here, as RECONCILER_ENVIRONMENT is {environment}: schedules and "
        "sensors are stopped, and there is no listener, so that a copy with real credentials does "
        "not begin to write. Unset it, or set it to production, where this is the one that "
        "syncs.\n"
    )


def died(name: str, code: int, log: Path, end: str) -> str:
    """A part ended by itself."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    todo = "mend what its log says and start" if end.strip() else "start"
    if code == -signal.SIGKILL:
        how += " (by a person, or by the system because memory ran out)"
    said = f"The end of {log}:\n\n{end}" if end.strip() else f"Its log, {log}, is empty."
    return (
        f"The {name} {how}, so everything else was stopped too. Nothing is lost: {todo} "
        f"`reconciler up` again. {said}\n"
    )


def no_listener(end: str) -> str:
    """The listener cannot start, and says why at the end of its log."""
    why = (end.strip().splitlines() or ["(its log is empty)"])[-1].removeprefix("Error: ")
    return (
        f"The listener cannot start: {why} Until then, and until `up` is started again, a sync "
        "that is asked for begins within seconds, not at once."
    )


def not_ready(name: str, seconds: int, log: Path, end: str) -> str:
    """A part runs, and is still of no use."""
    return (
        f"The {name} was not ready within {seconds} s, so everything else was stopped too: mend "
        f"what its log says and start `reconciler up` again. The end of {log}:\n\n"
        f"{end or '(empty)'}\n"
    )
