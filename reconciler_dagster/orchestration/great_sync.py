"""The Great Sync from the command line: the same job, window after window, without a daemon.

While the run of one window writes, the next ones are being listed. The runs themselves follow
one another: two of Dagster's in-process runs at a time can lock each other out for ever, each
holding a lock of Python's logging that the other wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from uuid import uuid4

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from sqlalchemy import Engine

from reconciler_dagster.airtable.errors import AirtableError
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.windows import grouped, month_of, months_until, unknown_grouped
from reconciler_dagster.engine.diff import ChangeSet
from reconciler_dagster.engine.session import Counts, Session
from reconciler_dagster.engine.windows import combined
from reconciler_dagster.orchestration.execute import (
    QUIET,
    ClientResult,
    chosen_clients,
    open_portal,
    run_in_process,
)
from reconciler_dagster.orchestration.metadata import attention
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.orchestration.windows import (
    LISTED_AHEAD_TAG,
    LISTED_AT_A_TIME,
    WINDOW_LEADS,
    WindowConfig,
    list_months,
    stage_listed,
)
from reconciler_dagster.postgres import quarantine, tombstones
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.runs import Summary

# Windows listed ahead of the one that is being written; their rows lie in Postgres.
AHEAD = 3


@dataclass(frozen=True)
class Choice:
    """What to sync. ``start``, ``end``: the months that they fall into are synced whole; ``end``
    is the last moment. ``afresh``: do not go on with a Great Sync that was cut off.
    """

    start: datetime | None = None
    end: datetime | None = None
    afresh: bool = False
    config: WindowConfig = field(default_factory=WindowConfig)

    def months(self, now: datetime) -> list[str]:
        """The months, oldest first. ConfigurationError where there is none."""
        months = [
            month
            for month in months_until(now)
            if (self.start is None or month >= month_of(self.start))
            and (self.end is None or month <= month_of(self.end))
        ]
        if not months:
            raise ConfigurationError("No month lies between --from and --to: swap them.")
        return months


Told = Callable[[Client, int, int, Counts], None]


def sync_windows(
    settings: Settings,
    instance: dg.DagsterInstance,
    client_id: str | None,
    choice: Choice,
    told: Told,
) -> Iterator[ClientResult]:
    """Sync one client or all, one after the other, and wait for the end.

    ``told`` is told the client, windows done and in all, and the counts so far. Raises
    ConfigurationError before anything is run where a setting is missing.
    """
    portal = open_portal(settings)
    settings.require_api_key()
    months = choice.months(datetime.now(UTC))
    clients = chosen_clients(portal, client_id)
    ensure_partitions(instance, clients)
    for client in clients:
        yield _sync(settings, portal, instance, client, months, choice, told)


def _sync(
    settings: Settings,
    portal: Engine,
    instance: dg.DagsterInstance,
    client: Client,
    months: list[str],
    choice: Choice,
    told: Told,
) -> ClientResult:
    config = choice.config
    key = f"great sync {uuid4()}"
    ahead = Session(settings, portal, client, key, "great_sync", config.dry_run)
    try:
        ahead.check_mapping()
    except (ConfigurationError, AirtableError) as error:
        wrong = isinstance(error, ConfigurationError)
        return ClientResult(client, Counts(), [str(error)], misconfigured=wrong)
    groups = _groups(portal, client, months, choice)
    counts, summaries = Counts(), []
    told(client, 0, len(groups), counts)
    for group, listed_as in _listed_ahead(ahead, groups):
        summaries.append(_run(portal, instance, client, group, config, listed_as))
        counts.add(Counts(**summaries[-1].counts))
        counts.airtable_calls = sum(s.counts.get("airtable_calls", 0) for s in summaries)
        counts.airtable_calls += ahead.calls
        told(client, len(summaries), len(groups), counts)
    with portal.begin() as connection:
        # What stands at the end; it does not add up over windows.
        counts.quarantined = len(quarantine.records(connection, client.id))
        counts.deletions_pending = tombstones.pending(connection, client.id)
        if not config.dry_run and all(s.state == "succeeded" for s in summaries):
            known.finish_great_sync(connection, client.id)
    return _together(client, counts, summaries)


def _groups(portal: Engine, client: Client, months: list[str], choice: Choice) -> list[list[str]]:
    """The months that are to be done, in groups, one a run."""
    with portal.begin() as connection:
        leads = known.leads_by_month(connection, client.id)
        if not choice.config.dry_run:
            months = known.left_of_great_sync(connection, client.id, months, afresh=choice.afresh)
    return grouped(months, leads, WINDOW_LEADS) if leads else unknown_grouped(months)


def _listed_ahead(
    session: Session, groups: list[list[str]]
) -> Iterator[tuple[list[str], str | None]]:
    """The groups as their listings come in, each with the key that it was listed under; the next
    ones are being listed meanwhile. None where that failed: the run tries itself, and records why
    it cannot.
    """
    session.users  # noqa: B018 - read once, before there are threads

    def list_one(number: int) -> str:
        key = f"{session.run_id}/{number}"
        stage_listed(session, [list_months(session, groups[number], key)], key)
        return key

    with ThreadPoolExecutor(LISTED_AT_A_TIME, thread_name_prefix="list") as pool:
        numbers = iter(range(len(groups)))
        waiting = {pool.submit(list_one, n): n for n in islice(numbers, AHEAD)}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                group = groups[waiting.pop(future)]
                waiting |= {pool.submit(list_one, n): n for n in islice(numbers, 1)}
                try:
                    listed_as = future.result()
                except (ConfigurationError, AirtableError):
                    listed_as = None
                yield group, listed_as


def _together(client: Client, counts: Counts, summaries: list[Summary]) -> ClientResult:
    """The windows' runs as one result; each reason once."""
    why = [reason for s in summaries for reason in attention(replace(s, counts={}))] + attention(
        replace(summaries[0], state="succeeded", counts=asdict(counts), findings={})
    )
    change_sets = [s.findings["change_set"] for s in summaries if "change_set" in s.findings]
    return ClientResult(
        client,
        counts,
        list(dict.fromkeys(why)),
        misconfigured=any(
            s.findings.get("misconfigured") or s.findings.get("stopped") for s in summaries
        ),
        change_set=asdict(combined(ChangeSet(**one) for one in change_sets)),
    )


def _run(
    portal: Engine,
    instance: dg.DagsterInstance,
    client: Client,
    months: list[str],
    config: WindowConfig,
    listed_as: str | None,
) -> Summary:
    tags = {
        PURPOSE_TAG: "great_sync",
        ASSET_PARTITION_RANGE_START_TAG: f"{client.id}|{months[0]}",
        ASSET_PARTITION_RANGE_END_TAG: f"{client.id}|{months[-1]}",
    }
    if listed_as:
        tags[LISTED_AHEAD_TAG] = listed_as
    run_config = dg.RunConfig(ops={"window_change_set": config}, loggers=QUIET)
    return run_in_process(portal, instance, client, "great_sync", run_config, tags)
