"""Runs without a daemon: the same job, in this process, recorded in Dagster all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.engine.session import Counts
from reconciler_dagster.orchestration.assets import run_config
from reconciler_dagster.orchestration.launcher import process_tag
from reconciler_dagster.orchestration.metadata import attention
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres import runs
from reconciler_dagster.postgres.clients import Client, active_clients, find_client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import is_current


@dataclass(frozen=True)
class ClientResult:
    """What a run of one client did.

    ``attention``: why a person is needed, in plain words. ``misconfigured``: the reason is a wrong
    setting, base or field map. ``change_set``: the plan in numbers, as ``engine.diff.ChangeSet``;
    empty where the run did not get as far.
    """

    client: Client
    counts: Counts
    attention: list[str] = field(default_factory=list)
    misconfigured: bool = False
    change_set: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The promised shape: the client's id and the counts."""
        return {"client_id": self.client.id, **asdict(self.counts)}


def open_portal(settings: Settings) -> Engine:
    """The portal's Postgres, reachable and migrated. ConfigurationError otherwise."""
    portal = engine(settings.require_database_url())
    if not is_current(portal):
        raise ConfigurationError(
            "The database is not at this version's migrations: run `reconciler migrate`."
        )
    return portal


def chosen_clients(portal: Engine, client_id: str | None) -> list[Client]:
    """The one client, or all active ones."""
    with portal.connect() as connection:
        if client_id is not None:
            return [find_client(connection, client_id)]
        return active_clients(connection)


def sync_clients(
    settings: Settings, instance: dg.DagsterInstance, client_id: str | None, config: SyncConfig
) -> Iterator[ClientResult]:
    """Run the sync job for one client or all, one after the other.

    One client's failure does not touch another's run. Raises ConfigurationError before anything
    is run where a setting is missing.
    """
    portal = open_portal(settings)
    settings.require_api_key()
    config.chosen()
    clients = chosen_clients(portal, client_id)
    ensure_partitions(instance, clients)
    for client in clients:
        yield _sync_client(portal, instance, client, config)


def _sync_client(
    portal: Engine, instance: dg.DagsterInstance, client: Client, config: SyncConfig
) -> ClientResult:
    from reconciler_dagster.definitions import (
        defs,
    )  # here, not above: definitions import this package

    result = defs.resolve_job_def("sync").execute_in_process(
        run_config=run_config(config, log_level="CRITICAL"),
        partition_key=client.id,
        instance=instance,
        tags={PURPOSE_TAG: "delta"} | process_tag(),
        raise_on_error=False,
    )
    with portal.connect() as connection:
        summary = runs.summary(connection, result.run_id)
    if summary is None:
        return ClientResult(client, Counts(), [_reason(result)])
    counts = Counts(**summary.counts)
    why = attention(summary)
    if not result.success and summary.state == "succeeded":
        why.append(_reason(result))
    findings = summary.findings
    return ClientResult(
        client,
        counts,
        why,
        misconfigured=bool(findings.get("misconfigured") or findings.get("stopped")),
        change_set=findings.get("change_set", {}),
    )


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The innermost error of a failed run, in one line."""
    for event in result.all_events:
        failure = event.event_specific_data if event.is_step_failure else None
        error = getattr(failure, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return str(error.message).strip().splitlines()[0]
    return "The run failed before its first step."
