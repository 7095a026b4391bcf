"""The ops: pull, diff and push. They hand on small references; the rows lie in staging tables."""

# No `from __future__ import annotations` here: Dagster reads the config class at run time.
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.findings import Findings
from reconciler_dagster.core.scope import CHANGED, EVERYTHING, Scope
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.engine.change_set import combined
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.links import fill_links
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.engine.rehearsal import rehearse_runs
from reconciler_dagster.orchestration import groups, metadata
from reconciler_dagster.orchestration.resources import ClientRun, moved
from reconciler_dagster.postgres import fights, rehearsals, runs, staging

Reference = dict[str, Any]


class SyncConfig(dg.Config):
    """What a person may choose in the launchpad; the client is the partition."""

    scope: str = "changed"
    created_from: str | None = None
    created_to: str | None = None
    dry_run: bool = False
    allow_mass_clear: bool = False
    allow_refusals: bool = False
    # Leave out syncs that are to run less often, and have run; the schedule says so.
    only_due: bool = False

    def chosen(self) -> Scope:
        """The scope; ConfigurationError for anything else than the three forms."""
        if self.created_from or self.created_to:
            return Scope("created", _moment(self.created_from), _moment(self.created_to))
        if self.scope == "changed":
            return CHANGED
        if self.scope == "everything":
            return EVERYTHING
        raise ConfigurationError(
            f"scope is '{self.scope}': expected changed or everything, or set created_from and "
            "created_to to dates."
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"'{text}' is no date: expected e.g. 2026-03-01.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dg.op(
    required_resource_keys={"client_run"},
    description="Lists the scope in Airtable into staging: one call where nothing changed.",
)
def pull_airtable_op(context: dg.OpExecutionContext, config: SyncConfig) -> Reference:
    """Pull, remote side."""
    run: ClientRun = context.resources.client_run
    scope = config.chosen()
    client = context.partition_key
    run.start(
        client,
        str(scope),
        dry_run=config.dry_run,
        answers_requests=not scope.is_window and not config.dry_run,
    )
    if config.only_due:
        run.keep_due(client)
    with run.step(client, name="pull Airtable") as sessions:
        pulls = [pull_airtable(session, scope) for session in sessions]
        stopped = [problem for pulled in pulls for problem in pulled.stopped]
        notes = list(dict.fromkeys(note for pulled in pulls for note in pulled.notes))
        findings: Findings = {
            "stopped": stopped,
            "notes": notes,
            "moved": moved(sessions),
            "dry_run": config.dry_run,
            "allow_mass_clear": config.allow_mass_clear,
            "allow_refusals": config.allow_refusals,
        }
        with run.engine.begin() as connection:
            runs.add_findings(connection, client, run.run_id, findings)
    for problem in [*run.left_out(client), *stopped]:
        context.log.error(problem)
    for note in notes:
        context.log.warning(note)
    found = zip(sessions, pulls, strict=True)
    told = {session.map.name: metadata.of_pull(session, pulled) for session, pulled in found}
    context.add_output_metadata(metadata.of_leads(told))
    groups.report(context, groups.AIRTABLE, told)
    records = sum(session.counts.pulled for session in sessions)
    return {"run_id": run.run_id, "records": records, "dry_run": config.dry_run}


@dg.op(
    required_resource_keys={"client_run"},
    description="Reads the portal's side of the scope: what was listed, and every unsettled edit.",
)
def pull_postgres_op(context: dg.OpExecutionContext, pulled: Reference) -> Reference:
    """Pull, local side."""
    run: ClientRun = context.resources.client_run
    told: dict[str, metadata.Metadata] = {}
    read = 0
    dry_run = pulled["dry_run"]
    with run.step(context.partition_key, dry_run=dry_run, name="pull Postgres") as sessions:
        for session in sessions:
            pull_postgres(session)
            with run.engine.connect() as connection:
                rows, edits = staging.count_leads(connection, session.key)
            read += rows
            told[session.map.name] = metadata.of_rows(session, rows, edits)
    context.add_output_metadata(metadata.of_leads(told))
    groups.report(context, groups.POSTGRES, told)
    return {**pulled, "leads": read}


@dg.op(
    required_resource_keys={"client_run"},
    description="Merges both sides with the baseline into the change-set; writes nothing else.",
)
def diff_op(context: dg.OpExecutionContext, leads: Reference) -> Reference:
    """Diff."""
    run: ClientRun = context.resources.client_run
    with run.step(context.partition_key, dry_run=leads["dry_run"], name="diff") as sessions:
        change_sets = (
            rehearse_runs(sessions)
            if leads["dry_run"]
            else {session.map.name: diff(session) for session in sessions}
        )
        total = combined(change_sets.values())
        with run.engine.begin() as connection:
            findings: Findings = {
                "change_set": asdict(total),
                "change_sets": {name: asdict(one) for name, one in change_sets.items()},
            }
            runs.add_findings(connection, context.partition_key, run.run_id, findings)
    told = {s.map.name: metadata.of_change_set(s, change_sets[s.map.name]) for s in sessions}
    context.add_output_metadata(metadata.of_leads(told))
    groups.report(context, groups.CHANGE_SET, told)
    return {**leads, "changes": total.leads}


@dg.op(
    required_resource_keys={"client_run"},
    out=dg.Out(dagster_type=dict, is_required=False),
    description="Writes both sides, journal first, and moves the cursor once all is in.",
)
def push_op(context: dg.OpExecutionContext, changes: Reference) -> Iterator[dg.Output[Reference]]:
    """Push. A dry run puts nothing out: nothing is reconciled by it."""
    run: ClientRun = context.resources.client_run
    client = context.partition_key
    dry_run = changes["dry_run"]
    with run.step(client, dry_run=dry_run, name="push") as sessions:
        unknown = 0
        if not dry_run:
            unknown = sum(len(push(session).unknown) for session in sessions)
            unknown += fill_links(sessions)
    session = sessions[0]
    with run.engine.begin() as connection:
        findings: Findings = {"unanswered": unknown, "fights": fights.sentences(connection, client)}
        runs.add_findings(connection, client, run.run_id, findings)
        runs.finish(connection, client, run.run_id, state="succeeded", message=None)
        summary = runs.summary(connection, run.run_id)
        for one in sessions if dry_run else ():
            staging.clear(connection, one.key)
        if not dry_run and summary is not None:
            rehearsals.conclude(connection, client, run.run_id, summary.counts)
    assert summary is not None
    context.instance.add_run_tags(
        run.run_id, metadata.tags_of_run([session.client.name], [summary])
    )
    if not dry_run:
        counts = run.counts(client)
        told = {s.map.name: metadata.of_sync(s, summary, counts[s.map.name]) for s in sessions}
        groups.report(context, groups.RECONCILED, told)
        yield dg.Output(
            {"run_id": run.run_id, **summary.counts},
            metadata=metadata.of_run(session, summary, counts.get(MAIN)),
        )
