"""Somebody has looked: what the engine had put aside is tried again."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres import fights, quarantine
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.quarantine import WHOLE_LEAD


def retry_chosen(
    connection: Connection,
    columns: Collection[str],
    client_id: str | None,
    record_id: str | None,
    field: str | None,
) -> int:
    """Make cells due, and have those put right once more that another writer has fought over;
    returns how many. ``columns``: all that are mapped. ConfigurationError where a choice matches
    none: "0 cells" would look like success.
    """
    if client_id is not None:
        find_client(connection, client_id)
    if field is not None and not field.startswith("(") and field not in columns:
        raise ConfigurationError(
            f"'{field}' is no field: expected a mapped column, as "
            f"`reconciler quarantine list` shows it, or '{WHOLE_LEAD}'."
        )
    count = quarantine.retry(connection, client_id, record_id, field)
    count += fights.take_up(connection, client_id, record_id, field)
    parts = {"client": client_id, "record": record_id, "field": field}
    named = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
    if named and not count:
        raise ConfigurationError(
            f"No cell of {named} is in quarantine: see `reconciler quarantine list`."
        )
    return count
