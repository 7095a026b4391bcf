"""The rolling audit in Dagster, and the job that carries out decisions on deletions."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

import dagster as dg
from sqlalchemy import Connection

from reconciler_dagster.config import Settings
from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.drift import unexplained
from reconciler_dagster.core.findings import Findings
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.engine import deletions
from reconciler_dagster.engine.audit import Audited, audit
from reconciler_dagster.engine.session import TURN_PATIENCE_SECONDS, Session
from reconciler_dagster.orchestration import groups, metadata
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
from reconciler_dagster.orchestration.environments import SCHEDULE_STATUS
from reconciler_dagster.orchestration.pacing import audit_settings
from reconciler_dagster.orchestration.partitions import CLIENTS, ensure_partitions, partition_tags
from reconciler_dagster.orchestration.resources import PURPOSE_TAG, moved
from reconciler_dagster.orchestration.submission import submit_tick
from reconciler_dagster.orchestration.windows import WindowRun
from reconciler_dagster.postgres import decisions, fights, runs
from reconciler_dagster.postgres.adoption import adopted_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster.postgres.report import drift_report

AUDITED_LEADS = dg.AssetKey("audited_leads")


@dg.asset(
    key=AUDITED_LEADS,
    partitions_def=CLIENTS,
    group_name=MAIN,
    required_resource_keys={"window_run"},
    description="The stalest creation windows of a client, compared in full and repaired.",
)
def audited_leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """As many windows as the hour's budget of calls allows; nothing where it is spent."""
    run: WindowRun = context.resources.window_run
    run.purpose = "audit"  # its calls count as such, whatever way it was launched
    client = context.partition_key
    run.start(client, "audit")
    with run.step(client) as sessions:
        for session in sessions:
            session.settings = audit_settings(
                session.engine, session.settings, session.client.base_id
            )
        audits = [audit(session) for session in sessions]
    audited, session = _together(sessions, audits), sessions[0]
    with run.engine.begin() as connection:
        found = _findings(connection, sessions, audited)
        runs.add_findings(connection, client, run.run_id, found)
        runs.finish(connection, client, run.run_id, state="succeeded", message=None)
        summary = runs.summary(connection, run.run_id)
    assert summary is not None
    context.instance.add_run_tags(
        run.run_id, metadata.tags_of_run([session.client.name], [summary])
    )
    counts = run.counts(client)
    told = {s.map.name: _metadata(s, one) for s, one in zip(sessions, audits, strict=True)}
    of_syncs = {s.map.name: metadata.of_sync(s, summary, counts[s.map.name]) for s in sessions}
    groups.report(context, groups.AUDITED, {name: told[name] | of_syncs[name] for name in told})
    return dg.MaterializeResult(
        metadata=metadata.of_leads(told) | metadata.of_run(session, summary, counts.get(MAIN))
    )


def _metadata(session: Session, audited: Audited) -> metadata.Metadata:
    return {
        "windows": dg.MetadataValue.md("\n".join(f"- {w}" for w in audited.windows) or "none"),
        "records listed": audited.listed,
        "hours for the whole base": round(audited.cycle_hours, 1),
        **metadata.of_change_set(session, audited.change_set),
    }


def _together(sessions: list[Session], audits: list[Audited]) -> Audited:
    """The audits of a client's syncs as one; windows of all but the first say whose they are."""
    whole = Audited()
    for number, (session, one) in enumerate(zip(sessions, audits, strict=True)):
        whose = f"{session.map.name}: " if number else ""
        whole.windows += [f"{whose}{window}" for window in one.windows]
        whole.listed += one.listed
        whole.change_sets += one.change_sets
        whole.doubts += one.doubts
        whole.braked += one.braked
        whole.unknown += one.unknown
        whole.cycle_hours += one.cycle_hours
    return whole


def _findings(connection: Connection, sessions: list[Session], audited: Audited) -> Findings:
    """An audit that looked at no window has nothing to say about windows."""
    of_windows: Findings = {}
    if audited.windows:
        of_windows = {
            "stopped": [why for session in sessions for why in session.bound.problems],
            "change_set": asdict(audited.change_set),
            "unanswered": audited.unknown,
            "doubts": audited.doubts + audited.braked,
        }
    return {
        **of_windows,
        "moved": moved(sessions),
        "fights": fights.sentences(connection, sessions[0].client.id),
        "drift": [
            line for one in sessions for line in unexplained(drift_report(connection, one.pair))
        ],
    }


audit_job = dg.define_asset_job(
    "audit",
    selection=dg.AssetSelection.assets(audited_leads),
    executor_def=dg.in_process_executor,
    tags={PURPOSE_TAG: "audit"},
    description="Prove the stalest part of a client's base, within the hour's budget of calls.",
)


@dg.schedule(
    job=audit_job,
    cron_schedule="7 * * * *",
    default_status=SCHEDULE_STATUS,
    description="Every hour, every active client: a part of the base, so that all of it is proved.",
)
def every_hour(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per active client; a skip where the audit is switched off."""
    settings = Settings.load()
    with engine(settings.require_database_url()).connect() as connection:
        clients, left_out = adopted_clients(connection)
    for why in left_out:
        context.log.info(why)
    if not clients or not settings.audit_calls_per_hour:
        nobody = "There is no active client, or the audit has no calls to spend."
        yield dg.SkipReason("\n".join(left_out) or nobody)
        return
    ensure_partitions(context.instance, clients)
    wanted = [
        dg.RunRequest(
            run_key=f"{client.id} {context.scheduled_execution_time.isoformat()}",
            partition_key=client.id,
            tags={PURPOSE_TAG: "audit", **ORDINARY, **partition_tags(client.id)},
        )
        for client in clients
    ]
    submit_tick(context, audit_job.name, wanted)
    yield from wanted


class DecisionConfig(dg.Config):
    """A decision on deletions that wait. No record ids: all that wait for the client."""

    client_id: str
    decision: Literal["approve", "reject"]
    record_ids: list[str] | None = None
    decided_by: str = "the launchpad"


@dg.op(
    required_resource_keys={"window_run"},
    description="Notes a person's decision, and deletes what was approved and is still gone.",
)
def decide_deletions_op(context: dg.OpExecutionContext, config: DecisionConfig) -> None:
    """Approve or reject."""
    run: WindowRun = context.resources.window_run
    client = config.client_id
    run.start(client, "deletions")
    state = State.APPROVED if config.decision == "approve" else State.REJECTED
    decided: list[str] = []
    with run.step(client) as sessions:
        for session in sessions:
            decided += _decide(run, session, config, state)
    with run.engine.begin() as connection:
        runs.add_findings(connection, client, run.run_id, {"decided": len(decided)})
        runs.finish(connection, client, run.run_id, state="succeeded", message=None)
    deleted = sum(session.counts.deletions for session in sessions)
    context.add_output_metadata({"decided": len(decided), "deleted": deleted, "as": state.value})


def _decide(run: WindowRun, session: Session, config: DecisionConfig, state: State) -> list[str]:
    """One sync's deletions. Returns the records that were decided on."""
    with run.engine.begin() as connection:
        decided = decisions.decide(
            connection, session.pair, config.record_ids, state, config.decided_by
        )
    session.bound  # noqa: B018 - another base is met under the lock, which it takes itself
    seconds = run.settings.lease_seconds
    held = client_lock(
        run.engine, session.client.id, run.run_id, TURN_PATIENCE_SECONDS, seconds=seconds
    )
    with held:
        deletions.carry_out_approved(session)
    with run.engine.connect() as connection:
        session.counts.deletions_pending = decisions.pending(connection, session.pair)
    return decided


@dg.job(
    name="decide_deletions",
    executor_def=dg.in_process_executor,
    tags={PURPOSE_TAG: "audit"},
    description="Approve or reject deletions that wait for a person.",
)
def decide_deletions_job() -> None:
    """The one op."""
    decide_deletions_op()
