"""A client's Airtable token, by reference: a variable, a file, or sealed in the table; or the
default. Each run reads it anew, so it is rotated without a restart.

Another kind (OAuth, whose tokens last an hour) is one more `_READ` here: a run asks again once a
token has been refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from reconciler_dagster import environment
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.postgres import client_tokens
from reconciler_dagster.postgres.client_tokens import SEALED, Kind, Reference
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.sealing import CannotOpen, Keys

# A variable of another name may hold anything: the portal's password must not be sent to Airtable.
VARIABLE = re.compile(r"AIRTABLE_\w*")
_LONGEST_TOKEN = 4096


def current(settings: Settings, portal: Engine, client: Client) -> str:
    """The token for a run of this client. Raises what ``read`` does."""
    return read(settings, client, _own(portal, client))


def refused(portal: Engine, client: Client) -> str | None:
    """What to tell where the client's own token is not accepted; None where it has none."""
    own = _own(portal, client)
    if own is None:
        return None
    return (
        f"{_whose(client, own)} is not accepted by Airtable: give "
        "it a valid one, `reconciler tokens set --help`. The other clients go on."
    )


def lacking(portal: Engine, client: Client, scopes: list[str]) -> str:
    """What to tell where a token may not do what a run does."""
    own = _own(portal, client)
    whose = _whose(client, own) if own else where(own)
    return (
        f"{whose} lacks {' and '.join(scopes)} in the base of {client.name}: give the token "
        f"{'this scope' if len(scopes) == 1 else 'these scopes'}, and its user the right to edit "
        "the base. What was edited waits, and nothing is lost."
    )


def read(settings: Settings, client: Client, own: Reference | None) -> str:
    """A client's token as it is now. Raises ConfigurationError that names client and place."""
    if own is None:
        return settings.require_api_key()
    try:
        return environment.require_token(_READ[own.kind](settings, client, own))
    except ValueError as why:
        raise ConfigurationError(
            f"{_whose(client, own)} is not usable: {why}. Put a valid "
            "token there, or give the client another one with `reconciler tokens set`."
        ) from None


def _own(portal: Engine, client: Client) -> Reference | None:
    with portal.connect() as connection:
        return client_tokens.reference(connection, client.id)


def _whose(client: Client, own: Reference) -> str:
    """A client's own token, in a sentence. ``notices.failures`` reads it there."""
    return f"The Airtable token of {client.name} ({where(own)})"


def where(own: Reference | None) -> str:
    """The place of a token, for a person."""
    if own is None:
        return "AIRTABLE_API_KEY"
    return {
        "env": f"the variable {own.name}",
        "file": f"the file {own.name}",
        "table": SEALED,
    }[own.kind]


def require_some(settings: Settings, portal: Engine) -> None:
    """Raise ConfigurationError where no client can have a token."""
    with portal.connect() as connection:
        if not client_tokens.all_references(connection):
            settings.require_api_key()


def keys(settings: Settings) -> Keys:
    """The keys of the table. Raises ConfigurationError where there are none."""
    if settings.token_keys is None:
        raise ConfigurationError(
            "RECONCILER_TOKEN_KEYS is not set, and tokens are kept encrypted in the portal's "
            "database: set it, for the runs too; `reconciler tokens new-key` prints a new one."
        )
    return Keys(settings.token_keys.get_secret_value())


def _of_variable(settings: Settings, client: Client, own: Reference) -> str:
    name = str(own.name)
    if not VARIABLE.fullmatch(name):
        raise ValueError("expected a variable whose name begins with AIRTABLE_")
    found = environment.value(name)
    if found is None:
        raise ValueError("it is not set where this run was started")
    return found


def _of_file(settings: Settings, client: Client, own: Reference) -> str:
    path = Path(str(own.name))
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_TOKEN + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read here ({error.strerror})") from None
    if len(content) > _LONGEST_TOKEN:
        raise ValueError("it is longer than any token")
    token = environment.cleaned(content.decode("utf-8", "replace"))
    if not token:
        raise ValueError("it is empty")
    return token


def _of_table(settings: Settings, client: Client, own: Reference) -> str:
    try:
        return keys(settings).open(client.id, own.sealed or b"")
    except CannotOpen:
        raise ValueError(
            "no key of RECONCILER_TOKEN_KEYS opens it: add the key that it was sealed with, or "
            "set the token again"
        ) from None


_READ: dict[Kind, Callable[[Settings, Client, Reference], str]] = {
    "env": _of_variable,
    "file": _of_file,
    "table": _of_table,
}
