"""The Great Sync in Dagster: client and creation month as partitions, a backfill over them.

A run takes one month of one client or a range of them. Runs of one client may go side by side:
they list at the same time and take turns at writing, and a delta goes before them.
"""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg
from dagster_shared.utils.warnings import BetaWarning

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.windows import (
    FIRST_MONTH,
    grouped,
    months_scope,
    months_until,
    unknown_grouped,
)
from reconciler_dagster.engine.diff import ChangeSet
from reconciler_dagster.engine.session import Session
from reconciler_dagster.engine.windows import (
    PART,
    Progress,
    Window,
    combined,
    discard,
    list_window,
    preview,
    reconcile,
)
from reconciler_dagster.orchestration import metadata
from reconciler_dagster.orchestration.partitions import CLIENTS
from reconciler_dagster.orchestration.resources import PURPOSE_TAG, ClientRun
from reconciler_dagster.postgres import cursor, runs, staging
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.postgres.clients import find_client

warnings.filterwarnings("ignore", "Parameter `backfill_policy`", BetaWarning)

WINDOWS = dg.MultiPartitionsDefinition(
    {
        "client": CLIENTS,
        "month": dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, end_offset=1),
    }
)
WINDOW_CHANGE_SET = dg.AssetKey("window_change_set")
RECONCILED_WINDOWS = dg.AssetKey("reconciled_windows")
# Leads listed as one window, and windows listed at a time: one chain of pages cannot use up the
# call budget (about 150 ms a call against 210 ms a slot, and the pages have to be stored too).
WINDOW_LEADS = 2 * PART
LISTED_AT_A_TIME = 2
# A run with this tag finds its windows listed already, staged under the tag's value.
LISTED_AHEAD_TAG = "reconciler/listed_ahead"
# Months a run of a backfill from the Dagster UI.
MONTHS_A_RUN = 6


class WindowConfig(dg.Config):
    """What a person may choose in the launchpad; client and months are the partitions."""

    dry_run: bool = False
    allow_mass_clear: bool = False


class WindowRun(ClientRun):
    """A run over windows: it takes the client's lock part by part, not for its whole life."""

    def session(self, client_id: str, *, dry_run: bool = False) -> Session:
        """The session of this run."""
        if self._session is None:
            with self.engine.connect() as connection:
                client = find_client(connection, client_id)
            self._session = Session(
                self.settings, self.engine, client, self.run_id, self.purpose, dry_run
            )
        return self._session


@dg.resource(description="The client of a run over windows, locked only while a part is written.")
def window_run(context: dg.InitResourceContext) -> Iterator[WindowRun]:
    """Settings come from the environment: no secret is ever part of a run's config."""
    run = context.run
    purpose = (run.tags if run else {}).get(PURPOSE_TAG, "great_sync")
    with ExitStack() as held:
        yield WindowRun(Settings.load(), run.run_id if run else "", purpose, held)  # type: ignore[arg-type]


def chosen(partition_keys: list[str]) -> tuple[str, list[str]]:
    """The client and the months of a run. ConfigurationError where there are several clients."""
    pairs = [key.split("|") for key in partition_keys]
    clients = {client for client, _ in pairs}
    if len(clients) != 1:
        raise ConfigurationError(
            f"The run was given {len(clients)} clients: choose the months of one client a run."
        )
    return clients.pop(), sorted(month for _, month in pairs)


@dg.asset(
    key=WINDOW_CHANGE_SET,
    partitions_def=WINDOWS,
    backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_A_RUN),
    group_name="great_sync",
    required_resource_keys={"window_run"},
    description="Every lead of the chosen creation months, on both sides, and what is to be done.",
)
def window_change_set(
    context: dg.AssetExecutionContext, config: WindowConfig
) -> dg.MaterializeResult[Any]:
    """List the windows and merge them with what Postgres holds. Writes nothing else."""
    run: WindowRun = context.resources.window_run
    client, months = chosen(list(context.partition_keys))
    run.session(client, dry_run=config.dry_run)
    scope = f"{months_scope(months[0], months[-1])}{' (dry run)' if config.dry_run else ''}"
    with run.engine.begin() as connection:
        runs.start(connection, client, run.run_id, run.purpose, scope, answers_requests=False)
    with run.step(client, dry_run=config.dry_run) as session:
        listed = _list(context, session, months)
        change_set = combined(preview(session, window) for _, window in listed)
        stage_listed(session, listed, session.run_id)
        findings = {
            "stopped": session.bound.problems,
            "notes": list(session.bound.notes),
            "dry_run": config.dry_run,
            "allow_mass_clear": config.allow_mass_clear,
            "change_set": asdict(change_set),
        }
        with run.engine.begin() as connection:
            runs.add_findings(connection, client, run.run_id, findings)
    return dg.MaterializeResult(metadata=_metadata(session, listed, change_set))


def _list(
    context: dg.AssetExecutionContext, session: Session, months: list[str]
) -> list[tuple[list[str], Window]]:
    """The months in groups, each group as one window; several windows are listed at a time.

    Nothing where they were listed ahead of this run.
    """
    ahead = context.run.tags.get(LISTED_AHEAD_TAG)
    if ahead:
        return _staged(session, ahead)
    with session.engine.connect() as connection:
        leads = known.leads_by_month(connection, session.client.id)
    expected = sum(leads.get(month, 0) for month in months)
    groups = grouped(months, leads, WINDOW_LEADS) if leads else unknown_grouped(months)
    session.bound, session.users  # noqa: B018 - read once, before there are threads

    def one(number: int) -> tuple[list[str], Window]:
        group = groups[number]

        def progress(records: int, calls: int) -> None:
            if calls % 10 == 0:
                about = f" of about {expected}" if expected else ""
                context.log.info(
                    f"{group[0]} to {group[-1]}: {records}{about} records in {calls} calls"
                )

        return list_months(session, group, f"{session.run_id}/{number}", progress)

    with ThreadPoolExecutor(LISTED_AT_A_TIME, thread_name_prefix="list") as pool:
        return list(pool.map(one, range(len(groups))))


def list_months(
    session: Session, months: list[str], key: str, progress: Progress | None = None
) -> tuple[list[str], Window]:
    """List some months as one window; for a thread of its own."""
    scope = months_scope(months[0], months[-1])
    return months, list_window(session, session.another_base(), scope, key, progress)


def stage_listed(session: Session, listed: list[tuple[list[str], Window]], key: str) -> None:
    """Stage what was listed, for the step or the run that goes on with it."""
    data = {"windows": [{"months": months, "window": asdict(window)} for months, window in listed]}
    with session.engine.begin() as connection:
        staging.stage_pull(connection, key, session.client.id, data)


def _staged(session: Session, key: str) -> list[tuple[list[str], Window]]:
    with session.engine.connect() as connection:
        data = staging.pull(connection, key)
    return [(one["months"], Window.from_json(one["window"])) for one in data["windows"]]


def _metadata(
    session: Session, listed: list[tuple[list[str], Window]], change_set: ChangeSet
) -> metadata.Metadata:
    return {
        "records listed": sum(window.listed for _, window in listed),
        "not listed": sum(len(window.absent) for _, window in listed),
        "airtable calls": sum(window.calls for _, window in listed),
        **metadata.of_change_set(session, change_set),
    }


@dg.asset(
    key=RECONCILED_WINDOWS,
    deps=[WINDOW_CHANGE_SET],
    partitions_def=WINDOWS,
    backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_A_RUN),
    group_name="great_sync",
    required_resource_keys={"window_run"},
    description="Both sides of the chosen creation months after the push.",
)
def reconciled_windows(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """Write the windows part by part, look into what was not listed, note what is covered."""
    run: WindowRun = context.resources.window_run
    client, _ = chosen(list(context.partition_keys))
    unanswered, doubts = 0, []
    with run.engine.connect() as connection:
        dry_run = any(s.findings.get("dry_run") for s in runs.summaries(connection, run.run_id))
    with run.step(client, dry_run=dry_run) as session:
        windows = _staged(session, session.run_id)
        for number, (months, window) in enumerate(windows, start=1):
            if dry_run:
                discard(session, window)
            else:
                reconciled = reconcile(session, window)
                unanswered += reconciled.unknown
                doubts += reconciled.doubts
                if reconciled.complete:
                    _note_covered(session, months, window)
            context.log.info(f"{number} of {len(windows)} windows done, to {months[-1]}")
    with run.engine.begin() as connection:
        findings = {"unanswered": unanswered, "doubts": doubts}
        runs.add_findings(connection, client, run.run_id, findings)
        runs.finish(connection, client, run.run_id, state="succeeded", message=None)
        summary = runs.summary(connection, run.run_id)
        staging.clear(connection, run.run_id)
    assert summary is not None
    context.instance.add_run_tags(run.run_id, metadata.tags_of_run(session, summary))
    return dg.MaterializeResult(metadata=metadata.of_run(session, summary))


def _note_covered(session: Session, months: list[str], window: Window) -> None:
    """Note the months; once every one has been listed, a delta can go on from there."""
    client_id = session.client.id
    moment, noted_at = map(datetime.fromisoformat, (window.moment, window.noted_at))
    with session.engine.begin() as connection:
        known.note_months(connection, client_id, months, moment, noted_at)
        if cursor.load(connection, client_id) is None:
            covered = known.covered_since(connection, client_id, months_until(noted_at))
            if covered is not None:
                since, ago = covered
                run_id = session.run_id
                cursor.move(connection, client_id, run_id, since, (), session.overlap, ago)


great_sync_job = dg.define_asset_job(
    "great_sync",
    selection=dg.AssetSelection.assets(window_change_set, reconciled_windows),
    executor_def=dg.in_process_executor,
    tags={PURPOSE_TAG: "great_sync"},
    description="Prove and repair whole creation months of a client; launch it as a backfill.",
)

WINDOW_ASSETS = [window_change_set, reconciled_windows]
