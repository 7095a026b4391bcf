"""The Great Sync from the command line: the same job, window after window, without a daemon.

While the run of one window writes, the next ones are being listed. The runs themselves follow
one another: two of Dagster's in-process runs at a time can lock each other out for ever, each
holding a lock of Python's logging that the other wants.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Protocol

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.engine.change_set import ChangeSet, combined
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.orchestration.ahead import Ahead, Choice
from reconciler_dagster.orchestration.execute import QUIET, ClientResult, run_in_process
from reconciler_dagster.orchestration.listed_ahead import Ready
from reconciler_dagster.orchestration.listing import LISTED_AHEAD_TAG
from reconciler_dagster.orchestration.metadata import attention_of_client, attention_of_findings
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.resources import EXPLAINED, PURPOSE_TAG
from reconciler_dagster.orchestration.windows import WindowConfig
from reconciler_dagster.postgres import decisions, quarantine
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.runs import Summary
from reconciler_dagster.telling import told


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
    instance: dg.DagsterInstance, clients: Sequence[Ahead], audience: Audience
) -> Iterator[ClientResult]:
    """Sync one client after the other, and wait for the end; whatever happens to one of them, the
    next one has its turn.
    """
    ensure_partitions(instance, [ahead.client for ahead in clients])
    for ahead in clients:
        with closing(ahead):
            yield _GreatSync(instance, ahead, audience).run()


@dataclass
class _GreatSync:
    """One client's."""

    instance: dg.DagsterInstance
    ahead: Ahead
    audience: Audience
    counts: Counts = field(default_factory=Counts)
    summaries: list[Summary] = field(default_factory=list)

    def run(self) -> ClientResult:
        """Never raises: the result holds the reason, and what was done until then."""
        client, wrong, why = self.ahead.client, False, []
        try:
            self._run()
        except Exception as error:
            wrong = isinstance(error, ConfigurationError)
            explained = isinstance(error, EXPLAINED)
            level = logging.DEBUG if explained or isinstance(error, DBAPIError) else logging.ERROR
            logging.getLogger(__name__).log(level, client.name, exc_info=True)
            why = [told(error, "above")]
            self._count_calls()
        return _together(client, self.counts, self.summaries, why, wrong)

    def _run(self) -> None:
        ahead, client, portal = self.ahead, self.ahead.client, self.ahead.portal
        outlook = ahead.outlook()
        if outlook.goes_on:
            self.audience.say(outlook.goes_on)
        progress = Progress(len(outlook.groups), outlook.calls_expected, outlook.records_expected)
        self.audience.progress(client, progress)
        for ready in ahead.windows():
            summary = _run(portal, self.instance, client, ready, ahead.choice)
            self.summaries.append(summary)
            self.counts.add(Counts(**summary.counts))
            self._count_calls()
            progress.windows_done += ready.windows
            progress.counts = self.counts
            self.audience.progress(client, progress)
        with portal.begin() as connection:
            # What stands at the end; it does not add up over windows.
            self.counts.quarantined = quarantine.records_by_client(connection)[client.id]
            self.counts.deletions_pending = decisions.pending_by_client(connection)[client.id]
            if not ahead.choice.dry_run and all(s.state == "succeeded" for s in self.summaries):
                for session in ahead.sessions:
                    known.finish_great_sync(connection, session.pair)

    def _count_calls(self) -> None:
        of_runs = sum(s.counts.get("airtable_calls", 0) for s in self.summaries)
        self.counts.airtable_calls = of_runs + sum(s.calls for s in self.ahead.sessions)


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
    portal: Engine, instance: dg.DagsterInstance, client: Client, ready: Ready, choice: Choice
) -> Summary:
    tags = {
        PURPOSE_TAG: "great_sync",
        ASSET_PARTITION_RANGE_START_TAG: f"{client.id}|{ready.months[0]}",
        ASSET_PARTITION_RANGE_END_TAG: f"{client.id}|{ready.months[-1]}",
    }
    if ready.listed_as:
        tags[LISTED_AHEAD_TAG] = ready.listed_as
    config = WindowConfig(
        dry_run=choice.dry_run,
        allow_mass_clear=choice.allow_mass_clear,
        allow_refusals=choice.allow_refusals,
    )
    run_config = dg.RunConfig(ops={"window_change_set": config}, loggers=QUIET)
    return run_in_process(portal, instance, client, "great_sync", run_config, tags)
