"""Which syncs of a client may write."""

from __future__ import annotations

from sqlalchemy import Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.core.sync import SyncMap
from reconciler_dagster.postgres import adoption
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.syncs.in_force import maps


def syncs_of(settings: Settings, portal: Engine, client: Client) -> tuple[list[SyncMap], list[str]]:
    """The client's syncs without those that are new, and why they are left out. What a run derives
    in rows of a new sync is left out with it.
    """
    every = maps(settings, client.base_id)
    with portal.connect() as connection:
        standing = adoption.standing(connection, client.id)
    new = standing.new_syncs(every)
    chosen = {name: own for name, own in every.items() if name not in new}
    return [own.among(chosen) for own in chosen.values()], standing.why_without(every)
