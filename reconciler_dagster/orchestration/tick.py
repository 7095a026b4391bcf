"""A tick of the schedule: for whom a delta is called for, and the run that it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration import pacing
from reconciler_dagster.orchestration.assets import run_config
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.partitions import partition_tags
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres import requests
from reconciler_dagster.postgres.adoption import adopted_clients
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.listed import follow

# Where edits ring, a client that has been read a moment ago can wait for the next time.
JUST_SYNCED_SECONDS = 300.0


@dataclass(frozen=True)
class Tick:
    """``clients``: all that may be written. ``called_for``: those of them whose delta is due.
    ``left_out``: of the other active ones, why, a sentence each.
    """

    moment: datetime
    clients: list[Client]
    called_for: list[Client]
    left_out: list[str]


def tick_at(portal: Engine, settings: Settings, moment: datetime) -> Tick:
    """What the schedule finds at a moment."""
    with portal.begin() as connection:
        follow(connection, settings.listed_clients)
        clients, left_out = adopted_clients(connection)
        edits_ring = settings.on_edit is not None
        synced = requests.just_synced(connection, JUST_SYNCED_SECONDS) if edits_ring else set()
        paced = pacing.due(connection, settings, clients, moment)
    called_for = [client for client in paced if client.id not in synced]
    return Tick(moment, clients, called_for, left_out)


def delta_of(client: Client, tick: Tick) -> dg.RunRequest:
    """The run of a client's delta."""
    return dg.RunRequest(
        run_key=f"{client.id} {tick.moment.isoformat()}",
        partition_key=client.id,
        run_config=run_config(SyncConfig(only_due=True)),
        tags={PURPOSE_TAG: "delta", **ORDINARY, **partition_tags(client.id)},
    )
