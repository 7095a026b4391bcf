"""The Great Sync in Dagster, first step: client and creation month as partitions, a backfill over
them.

A run takes months of one client, or the same months of several: Dagster groups a backfill by
whichever there are fewer of. Runs of one client may go side by side: they list at the same time
and take turns at writing, and a delta goes before them.
"""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import dagster as dg
from dagster_shared.utils.warnings import BetaWarning

from reconciler_dagster.config import Settings
from reconciler_dagster.core.findings import Findings
from reconciler_dagster.core.windows import months_scope
from reconciler_dagster.engine.change_set import ChangeSet, combined
from reconciler_dagster.engine.coming import linked
from reconciler_dagster.engine.session import Session
from reconciler_dagster.engine.windows import inserts_of, preview
from reconciler_dagster.orchestration import listing, metadata
from reconciler_dagster.orchestration.failures import Failures, by_client
from reconciler_dagster.orchestration.listing import LISTED_AHEAD_TAG, Listed
from reconciler_dagster.orchestration.partitions import WINDOWS
from reconciler_dagster.orchestration.resources import PURPOSE_TAG, ClientRun, moved
from reconciler_dagster.postgres import runs

WINDOW_CHANGE_SET = dg.AssetKey("window_change_set")
# Months a run of a backfill from the Dagster UI.
MONTHS_A_RUN = 6


class WindowConfig(dg.Config):
    """What a person may choose in the launchpad; client and months are the partitions."""

    dry_run: bool = False
    allow_mass_clear: bool = False
    allow_refusals: bool = False


class WindowRun(ClientRun):
    """A run over windows: it takes the client's lock part by part, not for its whole life."""

    def _lock(self, client_id: str) -> None:
        pass


@dg.resource(description="The client of a run over windows, locked only while a part is written.")
def window_run(context: dg.InitResourceContext) -> Iterator[WindowRun]:
    """Settings come from the environment: no secret is ever part of a run's config."""
    run = context.run
    purpose = (run.tags if run else {}).get(PURPOSE_TAG, "great_sync")
    with ExitStack() as held:
        yield WindowRun(Settings.load(), run.run_id if run else "", purpose, held)  # type: ignore[arg-type]


def window_asset(**more: Any) -> Callable[..., dg.AssetsDefinition]:
    """`dg.asset`, of clients and months."""
    with warnings.catch_warnings():  # a backfill's policy is beta: every command would say so
        warnings.simplefilter("ignore", BetaWarning)
        decorator: Callable[..., dg.AssetsDefinition] = dg.asset(
            partitions_def=WINDOWS,
            backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_A_RUN),
            group_name="great_sync",
            required_resource_keys={"window_run"},
            **more,
        )
    return decorator


@window_asset(
    key=WINDOW_CHANGE_SET,
    description="Every lead of the chosen creation months, on both sides, and what is to be done.",
)
def window_change_set(
    context: dg.AssetExecutionContext, config: WindowConfig
) -> dg.MaterializeResult[Any]:
    """List the windows and merge them with what Postgres holds. Writes nothing else.

    Fails where every client does; else the other ones are to be carried out.
    """
    run: WindowRun = context.resources.window_run
    clients, failures = by_client(context.partition_keys), Failures(context, run)
    for client, months in clients.items():
        told: metadata.Metadata = {}
        with failures.of(client):
            told = _list(context, run, client, months, config)
        if client in failures.reasons:
            told = {"not listed": failures.reasons[client]}
        for month in months:
            context.add_asset_metadata(told, partition_key=f"{client}|{month}")
    if len(failures.reasons) == len(clients):
        failures.tell()
    return dg.MaterializeResult()


def _list(
    context: dg.AssetExecutionContext,
    run: WindowRun,
    client: str,
    months: list[str],
    config: WindowConfig,
) -> metadata.Metadata:
    """One client's months, unless they were listed ahead of this run."""
    scope = str(months_scope(months[0], months[-1]))
    run.start(client, scope, dry_run=config.dry_run, findings=_asked_for(months, config))
    told: dict[str, metadata.Metadata] = {}
    change_sets: dict[str, ChangeSet] = {}
    with run.step(client, dry_run=config.dry_run) as sessions:
        ahead = context.run.tags.get(LISTED_AHEAD_TAG)
        all_listed = {
            session.map.name: listing.staged(session, listing.ahead_key_of(session, ahead))
            if ahead
            else listing.list_groups(context, session, months)
            for session in sessions
        }
        coming = {
            session.map.name: set[str]().union(
                *(inserts_of(session, one.window) for one in all_listed[session.map.name])
            )
            for session in (linked(sessions) if config.dry_run else ())
        }
        for session in sessions:
            listed = all_listed[session.map.name]
            change_set = combined(preview(session, one.window, coming) for one in listed)
            listing.stage_listed(session, listed, listing.key_of(session))
            change_sets[session.map.name] = change_set
            told[session.map.name] = _metadata(session, listed, change_set)
        findings: Findings = {
            "stopped": [why for session in sessions for why in session.bound.problems],
            "notes": list(dict.fromkeys(note for s in sessions for note in s.notes)),
            "moved": moved(sessions),
            "change_set": asdict(combined(change_sets.values())),
            "change_sets": {name: asdict(one) for name, one in change_sets.items()},
        }
        with run.engine.begin() as connection:
            runs.add_findings(connection, client, run.run_id, findings)
    return metadata.of_all_syncs(told)


def _asked_for(months: list[str], config: WindowConfig) -> Findings:
    return {
        "months": months,
        "dry_run": config.dry_run,
        "allow_mass_clear": config.allow_mass_clear,
        "allow_refusals": config.allow_refusals,
    }


def _metadata(session: Session, listed: list[Listed], change_set: ChangeSet) -> metadata.Metadata:
    windows = [one.window for one in listed]
    return {
        "records listed": sum(window.listed for window in windows),
        "not listed": sum(len(window.absent) for window in windows),
        "airtable calls": sum(window.calls for window in windows),
        **metadata.of_change_set(session, change_set),
    }
