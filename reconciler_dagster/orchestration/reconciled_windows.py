"""The Great Sync in Dagster, second step: the windows are written, and what they prove is noted."""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg

from reconciler_dagster.core.findings import Findings
from reconciler_dagster.core.windows import months_until
from reconciler_dagster.engine.links import fill_links
from reconciler_dagster.engine.listing import Window
from reconciler_dagster.engine.session import Session
from reconciler_dagster.engine.windows import discard, reconcile
from reconciler_dagster.orchestration import groups, listing, metadata, verdicts
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
from reconciler_dagster.orchestration.failures import Failures, by_client
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.orchestration.windows import (
    WINDOW_CHANGE_SET,
    WindowRun,
    window_asset,
    window_change_set,
)
from reconciler_dagster.postgres import bindings, cursor, fights, runs, staging
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.postgres.runs import Summary

RECONCILED_WINDOWS = dg.AssetKey("reconciled_windows")


@window_asset(
    key=RECONCILED_WINDOWS,
    deps=[WINDOW_CHANGE_SET],
    output_required=False,
    # Not checks of their own: these are left out where the asset puts nothing out.
    check_specs=[
        dg.AssetCheckSpec(
            "window_deletions",
            asset=RECONCILED_WINDOWS,
            description="Every known lead was listed, or its deletion needs no person.",
        ),
        dg.AssetCheckSpec(
            "window_attention",
            asset=RECONCILED_WINDOWS,
            description="No window of the last day needs a person.",
        ),
    ],
    description="Both sides of the chosen creation months after the push. A month is materialised "
    "where it is proved: its listing was complete, and the run was no dry run.",
)
def reconciled_windows(
    context: dg.AssetExecutionContext,
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckResult]:
    """Write the windows part by part, look into what was not listed, note what is covered."""
    run: WindowRun = context.resources.window_run
    clients, failures = by_client(context.partition_keys), Failures(context, run)
    with run.engine.connect() as connection:
        before = {s.client_id: s for s in runs.summaries(connection, run.run_id)}
    keys = {str(key): key for key in context.partition_keys}
    for client in clients:
        with failures.of(client):
            proof = _reconcile(context, run, client, before.get(client))
            for month in proof.of_all_syncs():
                yield dg.AssetMaterialization(
                    RECONCILED_WINDOWS, partition=keys[f"{client}|{month}"], metadata=proof.told
                )
            for sync, months in proof.months.items():
                partitions = [keys[f"{client}|{month}"] for month in sorted(months)]
                groups.report(context, groups.WHOLE, {sync: proof.of_syncs[sync]}, partitions)
    with run.engine.connect() as connection:
        summaries = runs.summaries(connection, run.run_id)
    names = sorted(failures.name(client) for client in clients)
    context.instance.add_run_tags(run.run_id, metadata.tags_of_run(names, summaries))
    yield verdicts.deletions(run.engine, "great_sync").result("window_deletions")
    yield verdicts.attention(run.engine, "great_sync").result("window_attention")
    failures.tell()


@dataclass(frozen=True)
class _Proof:
    """What is proved of a client. ``months``: by sync, those that nothing speaks against.
    ``told``, ``of_syncs``: what to tell of all syncs, and of each.
    """

    months: dict[str, set[str]]
    told: metadata.Metadata
    of_syncs: dict[str, metadata.Metadata]

    def of_all_syncs(self) -> list[str]:
        """The months that are proved of every sync."""
        return sorted(set.intersection(*self.months.values()))


def _reconcile(
    context: dg.AssetExecutionContext, run: WindowRun, client: str, before: Summary | None
) -> _Proof:
    """One client."""
    if before is not None and before.state == "failed":  # its listing failed, or the brake holds
        raise dg.Failure(
            before.message or "The windows of this client were not listed.", allow_retries=False
        )
    dry_run = before is not None and bool(before.findings.get("dry_run"))
    unanswered, doubts = 0, list[str]()
    proved: dict[str, set[str]] = {}
    with run.step(client, dry_run=dry_run) as sessions:
        for session in sessions:
            done = _reconcile_sync(context, session, dry_run)
            unanswered += done.unknown
            doubts += done.doubts
            proved[session.map.name] = done.proved
        if not dry_run:
            unanswered += fill_links(sessions, in_turns=True)
    with run.engine.begin() as connection:
        findings: Findings = {
            "unanswered": unanswered,
            "doubts": doubts,
            "fights": fights.sentences(connection, client),
        }
        runs.add_findings(connection, client, run.run_id, findings)
        runs.finish(connection, client, run.run_id, state="succeeded", message=None)
        for session in sessions:
            staging.clear(connection, listing.key_of(session))
        (summary,) = [s for s in runs.summaries(connection, run.run_id) if s.client_id == client]
    counts = run.counts(client)
    of_syncs = {s.map.name: metadata.of_sync(s, summary, counts[s.map.name]) for s in sessions}
    return _Proof(proved, metadata.of_run(sessions[0], summary), of_syncs)


@dataclass
class _Done:
    """One sync's windows. ``proved``: months that nothing speaks against."""

    unknown: int = 0
    doubts: list[str] = field(default_factory=list)
    proved: set[str] = field(default_factory=set)


def _reconcile_sync(context: dg.AssetExecutionContext, session: Session, dry_run: bool) -> _Done:
    out = _Done()
    windows = listing.staged(session, listing.key_of(session))
    for number, one in enumerate(windows, start=1):
        if dry_run:
            session.counts.pulled += one.window.listed
            discard(session, one.window)
        else:
            reconciled = reconcile(session, one.window)
            out.unknown += reconciled.unknown
            out.doubts += reconciled.doubts
            if reconciled.complete:
                _note_covered(session, one.months, one.window)
                out.proved |= set(one.months)
        context.log.info(
            f"{session.client.name}: {number} of {len(windows)} windows done, to {one.months[-1]}"
        )
    return out


def _note_covered(session: Session, months: list[str], window: Window) -> None:
    """Note the months; once every one has been listed, a delta can go on from there."""
    pair = session.pair
    moment, noted_at = map(datetime.fromisoformat, (window.moment, window.noted_at))
    with session.engine.begin() as connection:
        bindings.require(connection, pair, window.place)
        known.note_months(connection, pair, months, moment, noted_at)
        if cursor.load(connection, pair) is None:
            covered = known.covered_since(connection, pair, months_until(noted_at))
            if covered is not None:
                since, ago = covered
                run_id = session.run_id
                cursor.move(connection, pair, run_id, since, (), session.overlap, ago)


great_sync_job = dg.define_asset_job(
    "great_sync",
    selection=dg.AssetSelection.assets(window_change_set, reconciled_windows),
    executor_def=dg.in_process_executor,
    tags={PURPOSE_TAG: "great_sync", **ORDINARY},
    description="Prove and repair whole creation months of a client; launch it as a backfill.",
)

WINDOW_ASSETS = [window_change_set, reconciled_windows]
