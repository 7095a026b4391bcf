"""What the doctor looks at of each client: its token, its base, its fields."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine

from reconciler_dagster.cli.looking.finding import Finding, State, tried
from reconciler_dagster.cli.output import counted
from reconciler_dagster.config import Settings
from reconciler_dagster.core.guard import Unfit
from reconciler_dagster.portal.tables import insert_of_client
from reconciler_dagster.postgres import client_tokens
from reconciler_dagster.postgres.client_tokens import Reference
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.syncs.in_force import maps


def own_tokens(portal: Engine | None) -> dict[str, Reference]:
    """By client. Without a database, or where that cannot be asked, nobody is known to have one."""
    if portal is None:
        return {}
    with portal.connect() as connection:
        return client_tokens.all_references(connection)


def default_token(settings: Settings, own: dict[str, Reference]) -> tuple[State, str]:
    """Of the token that clients without one of their own have."""
    if settings.airtable_api_key is None and own:
        return (
            "ok",
            f"AIRTABLE_API_KEY is not set; {counted(len(own), 'client')} with a token of their own",
        )
    return _owner(settings, settings.require_api_key())


def _owner(settings: Settings, token: str) -> tuple[State, str]:
    from reconciler_dagster.airtable.owner import NEEDED_SCOPES, token_owner

    owner = token_owner(settings, token)
    said = f"belongs to user {owner.user} at {settings.airtable_endpoint_url}"
    if owner.missing:
        return "failed", f"{said}, and lacks the scopes {', '.join(owner.missing)}: add them"
    if owner.scopes is None:
        return "ok", f"{said}; it needs only the scopes {', '.join(NEEDED_SCOPES)}"
    if owner.needless:
        needless = ", ".join(owner.needless)
        return "ok", f"{said}; the scopes that nothing here needs are {needless}: take them away"
    return "ok", f"{said}, with no more scopes than are needed"


def each_client(
    settings: Settings, portal: Engine, own: dict[str, Reference], default: Finding
) -> Iterator[Finding]:
    """One finding a client, and one of its token where it has one of its own."""
    try:
        with portal.connect() as connection:
            clients = active_clients(connection)
            statement = insert_of_client(connection)
    except Unfit as error:
        yield Finding("clients", "failed", str(error))
        return
    if not clients:
        nobody = "there is no active client: nothing would be synced. Add one by "
        yield Finding("clients", "warning", f'{nobody}`reconciler psql -c "{statement}"`')
    for client in clients:
        if client.id in own:
            given = own[client.id]
            found = tried(f"token of {client.name}", lambda: _own(settings, client, given))  # noqa: B023
            yield found
        else:
            found = default
        if found.state == "failed":
            yield Finding(f"client {client.name}", "skipped", "needs its token first")
            continue
        yield tried(f"client {client.name}", lambda: _client(settings, portal, client))  # noqa: B023


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
