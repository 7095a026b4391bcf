"""The Great Sync from the command line: the same job, window after window, without a daemon.

While the run of one window writes, the next ones are being listed. The runs themselves follow
one another: two of Dagster's in-process runs at a time can lock each other out for ever, each
holding a lock of Python's logging that the other wants.
"""

from __future__ import annotations

import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from reconciler_dagster import tracing
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.source import PAGE
from reconciler_dagster.core.windows import (
    grouped,
    month_of,
    months_until,
    tells_of_all,
    unknown_grouped,
)
from reconciler_dagster.engine import tokens
from reconciler_dagster.engine.change_set import ChangeSet, combined
from reconciler_dagster.engine.coming import linked
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.listing import sample_base
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.execute import (
    QUIET,
    ClientResult,
    run_in_process,
)
from reconciler_dagster.orchestration.listing import (
    FIRST_LISTED_AT_A_TIME,
    LISTED_AHEAD_TAG,
    LISTED_AT_A_TIME,
    LISTED_LEADS,
    listed_ahead,
)
from reconciler_dagster.orchestration.metadata import attention_of_client, attention_of_findings
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import EXPLAINED, PURPOSE_TAG, syncs_of
from reconciler_dagster.orchestration.windows import WindowConfig
from reconciler_dagster.postgres import decisions, quarantine
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.portal import chosen_clients, open_portal
from reconciler_dagster.postgres.runs import Summary
from reconciler_dagster.syncs.in_force import maps
from reconciler_dagster.telling import told

# Python's own 5 ms, for which a thread that has its slot in the call budget would wait for the one
# that writes, each time, would cost a twentieth of the rate.
SWITCH_SECONDS = 0.001


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
        if not months and self.start and self.end and self.start > self.end:
            raise ConfigurationError("--from lies after --to: swap them.")
        if not months:
            raise ConfigurationError("--from lies in the future: name a day up to today.")
        return months


@dataclass
class Progress:
    """How far a client's Great Sync is. Nothing is expected of records (None) of a base that was
    never listed.
    """

    windows: int
    calls_expected: int
    records_expected: int | None
    windows_done: int = 0
    counts: Counts = field(default_factory=Counts)


class Audience(Protocol):
    """Who is told how it goes: ``say`` gets sentences."""

    def progress(self, client: Client, progress: Progress) -> None:
        """So far."""

    def say(self, sentence: str) -> None:
        """What a person should know at once."""


def sync_windows(
    settings: Settings,
    instance: dg.DagsterInstance,
    client_id: str | None,
    choice: Choice,
    audience: Audience,
) -> Iterator[ClientResult]:
    """Sync one client or all, one after the other, and wait for the end; whatever happens to one
    of them, the next one has its turn.

    Raises ConfigurationError before anything is run where a setting is missing.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    portal = open_portal(settings)
    tokens.require_some(settings, portal)
    months = choice.months(datetime.now(UTC))
    clients = chosen_clients(portal, client_id)
    ensure_partitions(instance, clients)
    for client in clients:
        chosen, _ = syncs_of(settings, portal, client)
        run_id = f"great sync {uuid4()}"
        sessions = [
            Session(settings, portal, client, own, run_id, "great_sync", choice.config.dry_run)
            # Where none may be written, the first one says why.
            for own in chosen or maps(settings, client.base_id).values()
        ]
        yield _GreatSync(instance, portal, client, sessions, choice, audience).run(months)


@dataclass
class _GreatSync:
    """One client's. ``ahead``: what lists ahead of the runs, one a sync. ``samples``: by sync, see
    ``list_window``.
    """

    instance: dg.DagsterInstance
    portal: Engine
    client: Client
    ahead: list[Session]
    choice: Choice
    audience: Audience
    counts: Counts = field(default_factory=Counts)
    summaries: list[Summary] = field(default_factory=list)
    samples: dict[str, list[datetime]] = field(default_factory=dict)

    def run(self, months: list[str]) -> ClientResult:
        """Never raises: the result holds the reason, and what was done until then."""
        client, wrong, why = self.client, False, []
        try:
            self._run(months)
        except Exception as error:
            wrong = isinstance(error, ConfigurationError)
            explained = isinstance(error, EXPLAINED)
            level = logging.DEBUG if explained or isinstance(error, DBAPIError) else logging.ERROR
            logging.getLogger(__name__).log(level, client.name, exc_info=True)
            why = [told(error, "above")]
            self._count_calls()
        return _together(client, self.counts, self.summaries, why, wrong)

    def _run(self, months: list[str]) -> None:
        client, portal, config = self.client, self.portal, self.choice.config
        for session in self.ahead:
            session.check_mapping()
        groups, progress = self._groups(months)
        if config.dry_run and linked(self.ahead):
            # What one window's run would make, another one's may link to.
            groups, progress.windows = [[month for group in groups for month in group]], 1
        self.audience.progress(client, progress)
        for group, listed_as in listed_ahead(self.ahead, groups, self.samples):
            summary = _run(portal, self.instance, client, group, config, listed_as)
            self.summaries.append(summary)
            self.counts.add(Counts(**summary.counts))
            self._count_calls()
            progress.windows_done, progress.counts = len(self.summaries), self.counts
            self.audience.progress(client, progress)
        with portal.begin() as connection:
            # What stands at the end; it does not add up over windows.
            self.counts.quarantined = quarantine.records_by_client(connection)[client.id]
            self.counts.deletions_pending = decisions.pending_by_client(connection)[client.id]
            if not config.dry_run and all(s.state == "succeeded" for s in self.summaries):
                for session in self.ahead:
                    known.finish_great_sync(connection, session.pair)

    def _count_calls(self) -> None:
        of_runs = sum(s.counts.get("airtable_calls", 0) for s in self.summaries)
        self.counts.airtable_calls = of_runs + sum(session.calls for session in self.ahead)

    def _groups(self, months: list[str]) -> tuple[list[list[str]], Progress]:
        """The months that are to be done, in groups, one a run."""
        left, by_sync = known.MonthsLeft(months), dict[str, dict[str, int]]()
        with self.portal.begin() as connection:
            for session in self.ahead:
                known_of = known.leads_by_month(connection, session.pair)
                by_sync[session.map.name] = {} if session.moved else known_of
            if not self.choice.config.dry_run:
                left = known.left_of_great_sync(
                    connection,
                    [session.pair for session in self.ahead],
                    months,
                    afresh=self.choice.afresh,
                )
        if left.since is not None:
            self.audience.say(
                f"{self.client.name}: goes on with the {len(left.months)} of {len(months)} months "
                f"that are left of the Great Sync of {left.since.astimezone(UTC):%Y-%m-%d %H:%M} "
                "UTC; --afresh begins anew."
            )
        unknown = [session for session in self.ahead if not by_sync[session.map.name]]
        with ThreadPoolExecutor(len(self.ahead)) as pool:
            pages = {s.map.name: pool.submit(tracing.carried(sample_base), s) for s in unknown}
        samples = {name: page.result() for name, page in pages.items()}
        self.samples = {name: one for name, one in samples.items() if tells_of_all(one)}
        if len(samples) == len(self.ahead):
            # As many as the largest table needs.
            cut = [
                unknown_grouped(left.months, sample, FIRST_LISTED_AT_A_TIME)
                for sample in samples.values()
            ]
            groups = max(cut, key=len)
            return groups, Progress(len(groups), len(groups) * len(cut), None)
        leads = sum((Counter(one) for one in by_sync.values()), Counter[str]())
        groups = grouped(left.months, leads, LISTED_LEADS, LISTED_AT_A_TIME)
        calls = sum(
            max(1, math.ceil(sum(one.get(month, 0) for month in group) / PAGE))
            for group in groups
            for one in by_sync.values()
        )
        expected = sum(leads[month] for group in groups for month in group)
        return groups, Progress(len(groups), calls, expected)


def _together(
    client: Client, counts: Counts, summaries: list[Summary], why: list[str], wrong: bool
) -> ClientResult:
    """The windows' runs as one result; each reason once. ``why``: what ended it all."""
    found = [reason for s in summaries for reason in attention_of_findings(s)]
    stands = attention_of_client(counts.quarantined, counts.deletions_pending)
    change_sets = [s.findings["change_set"] for s in summaries if "change_set" in s.findings]
    return ClientResult(
        client,
        counts,
        list(dict.fromkeys([*found, *stands, *why])),
        misconfigured=wrong
        or any(s.findings.get("misconfigured") or s.findings.get("stopped") for s in summaries),
        change_set=asdict(combined(ChangeSet(**one) for one in change_sets)) if summaries else {},
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
