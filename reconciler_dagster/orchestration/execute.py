"""Runs without a daemon: the same job, in this process, recorded in Dagster all the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal
from uuid import uuid4

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.engine import tokens
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.orchestration.alive import process_tag
from reconciler_dagster.orchestration.assets import run_config
from reconciler_dagster.orchestration.metadata import attention
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.orchestration.sync_job import by_itself, sync_job
from reconciler_dagster.postgres import runs, tombstones
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.portal import chosen_clients, open_portal
from reconciler_dagster.postgres.runs import Summary
from reconciler_dagster.syncs.in_force import maps
from reconciler_dagster.telling import told_of_record

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


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

    def as_json(self, *, dry_run: bool = False) -> dict[str, Any]:
        """The promised shape: the client's id and the counts; of a dry run, which has done nothing
        that could be counted, also the change-set.
        """
        promised = {"client_id": self.client.id, **asdict(self.counts)}
        return promised | {"change_set": self.change_set} if dry_run else promised


@dataclass(frozen=True)
class Decided(ClientResult):
    """What a decision on deletions did. ``decided``: deletions that it was about."""

    decided: int = 0


def sync_clients(
    settings: Settings, instance: dg.DagsterInstance, client_id: str | None, config: SyncConfig
) -> Iterator[ClientResult]:
    """Run the sync job for one client or all, one after the other.

    One client's failure does not touch another's run. Raises ConfigurationError before anything
    is run where a setting is missing.
    """
    portal = open_portal(settings)
    tokens.require_some(settings, portal)
    config.chosen()
    clients = chosen_clients(portal, client_id)
    ensure_partitions(instance, clients)
    for client in clients:
        yield _sync_client(portal, instance, client, config)


def _sync_client(
    portal: Engine, instance: dg.DagsterInstance, client: Client, config: SyncConfig
) -> ClientResult:
    summary = run_in_process(
        portal,
        instance,
        client,
        sync_job.name,
        run_config(config, log_level="CRITICAL"),
        {PURPOSE_TAG: "delta"},
        client.id,
    )
    return _result(client, summary)


def audit_clients(
    settings: Settings, instance: dg.DagsterInstance, client_id: str | None
) -> Iterator[ClientResult]:
    """Run the audit job for one client or all. Raises as ``sync_clients``."""
    portal = open_portal(settings)
    tokens.require_some(settings, portal)
    clients = chosen_clients(portal, client_id)
    ensure_partitions(instance, clients)
    tags = {PURPOSE_TAG: "audit"}
    for client in clients:
        config = dg.RunConfig(loggers=QUIET)
        summary = run_in_process(portal, instance, client, "audit", config, tags, client.id)
        yield _result(client, summary)


def decide_deletions(
    settings: Settings,
    instance: dg.DagsterInstance,
    client_id: str | None,
    decision: Literal["approve", "reject"],
    record_ids: list[str] | None,
    decided_by: str,
) -> list[Decided]:
    """Run the job that carries out a decision; ``record_ids``: None for all that wait.

    Raises as ``sync_clients``, and ConfigurationError before anything is done where one of the
    records does not wait for a person: it may be a slip of the pen.
    """
    portal = open_portal(settings)
    tokens.require_some(settings, portal)
    from reconciler_dagster.orchestration.audit import DecisionConfig  # with all of the audit

    results = []
    for client, waiting in _waiting(settings, portal, client_id, record_ids):
        config = DecisionConfig(
            client_id=client.id, decision=decision, record_ids=waiting, decided_by=decided_by
        )
        summary = run_in_process(
            portal,
            instance,
            client,
            "decide_deletions",
            dg.RunConfig(ops={"decide_deletions_op": config}, loggers=QUIET),
            {PURPOSE_TAG: "audit"},
        )
        decided = int(summary.findings.get("decided", 0))
        results.append(Decided(**vars(_result(client, summary)), decided=decided))
    return results


def _waiting(
    settings: Settings, portal: Engine, client_id: str | None, record_ids: list[str] | None
) -> list[tuple[Client, list[str] | None]]:
    """The clients with those of the records that a person may decide about; what was rejected can
    be decided about once more.
    """
    open_states = (State.AWAITING_APPROVAL, State.REJECTED)
    clients = chosen_clients(portal, client_id)
    if record_ids is None:
        return [(client, None) for client in clients]
    found: list[tuple[Client, list[str] | None]] = []
    unknown = list(dict.fromkeys(record_ids))
    with portal.connect() as connection:
        for client in clients:
            stones = [
                stone
                for sync in maps(settings, client.base_id).values()
                for stone in tombstones.load(connection, Pair(client.id, sync), record_ids).values()
            ]
            here = [s.record_id for s in stones if s.state in open_states]
            unknown = [record_id for record_id in unknown if record_id not in here]
            if here:
                found.append((client, here))
    if unknown:
        raise ConfigurationError(
            f"No deletion of {', '.join(unknown)} waits for a person: "
            "see `reconciler deletions list`."
        )
    return found


def _definition_of(job: str) -> dg.JobDefinition:
    if job == sync_job.name and "reconciler_dagster.definitions" not in sys.modules:
        return by_itself()
    from reconciler_dagster.definitions import defs  # here: definitions import this package

    return defs.resolve_job_def(job)


def run_in_process(
    portal: Engine,
    instance: dg.DagsterInstance,
    client: Client,
    job: str,
    config: dg.RunConfig,
    tags: dict[str, str],
    partition_key: str | None = None,
) -> Summary:
    """Run a job here, recorded in Dagster, and read what it summed up; ``failed`` with the reason
    where it did not get as far.
    """
    run_id = str(uuid4())
    result = _definition_of(job).execute_in_process(
        run_config=config,
        partition_key=partition_key,
        instance=instance,
        run_id=run_id,
        tags=tags | process_tag(run_id),
        raise_on_error=False,
    )
    if _interrupted(result):
        with portal.begin() as connection:
            runs.abandon(connection, run_id, "The run was interrupted (Ctrl-C).")
        raise KeyboardInterrupt
    with portal.connect() as connection:
        summary = runs.summary(connection, run_id)
    if summary is None:
        why = reason_of(result)
        return Summary(client.id, run_id, tags[PURPOSE_TAG], job, "failed", {}, {}, why)
    if not result.success and summary.state == "succeeded":
        return replace(summary, state="failed", message=reason_of(result))
    return summary


def _result(client: Client, summary: Summary) -> ClientResult:
    findings = summary.findings
    return ClientResult(
        client,
        Counts(**summary.counts),
        attention(summary),
        misconfigured=bool(findings.get("misconfigured") or findings.get("stopped")),
        change_set=findings.get("change_set", {}),
    )


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a person ended the run: Dagster keeps the signal to itself."""
    failures = (event.event_specific_data for event in result.all_events if event.is_step_failure)
    errors = (getattr(failure, "error", None) for failure in failures)
    return any(error and error.cls_name == "DagsterExecutionInterruptedError" for error in errors)


def reason_of(result: dg.ExecuteInProcessResult) -> str:
    """The innermost error of a failed run, as far as it may be told."""
    for event in result.all_events:
        failure = event.event_specific_data if event.is_step_failure else None
        if described := getattr(getattr(failure, "user_failure_data", None), "description", None):
            return str(described)
        error = getattr(failure, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return told_of_record(error.message, f"step failures of run {result.run_id}")
    return "The run failed before its first step."
