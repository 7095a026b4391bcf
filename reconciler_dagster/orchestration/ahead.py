"""The windows of a Great Sync, listed ahead of the runs that carry them out.

Needs no Dagster, whose import takes longer than Airtable's first answers.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from uuid import uuid4

from sqlalchemy import Engine

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
from reconciler_dagster.engine.adopted import syncs_of
from reconciler_dagster.engine.coming import linked
from reconciler_dagster.engine.listing import CHAINS, sample_base
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.listed_ahead import Ready, Windows
from reconciler_dagster.orchestration.listing import LISTED_AT_A_TIME, LISTED_LEADS
from reconciler_dagster.postgres import windows as known
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.portal import chosen_clients, open_portal
from reconciler_dagster.syncs.in_force import maps

# At first contact a window is mostly one chain, so that fewer end in a page that is not full.
FIRST_AT_A_TIME = CHAINS
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
    dry_run: bool = False
    allow_mass_clear: bool = False
    allow_refusals: bool = False

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


@dataclass(frozen=True)
class Outlook:
    """What is to be done for a client. ``groups``: months that one window takes together.
    ``goes_on``: what a person is told where a Great Sync goes on that was cut off. Nothing is
    expected of records (None) of a base that was never listed.
    """

    groups: list[list[str]]
    calls_expected: int
    records_expected: int | None
    goes_on: str | None


@dataclass
class Ahead:
    """One client's listing, to be closed."""

    settings: Settings
    portal: Engine
    client: Client
    choice: Choice
    months: list[str]
    sessions: list[Session] = field(default_factory=list)
    _ended: Event = field(default_factory=Event)
    _pools: list[ThreadPoolExecutor] = field(default_factory=list)
    _begun: Future[tuple[Outlook, Windows]] | None = None

    def begin(self) -> Future[tuple[Outlook, Windows]]:
        """Begin in the background; done once."""
        if self._begun is None:
            chosen, _ = syncs_of(self.settings, self.portal, self.client)
            run_id, dry_run = f"great sync {uuid4()}", self.choice.dry_run
            self.sessions = [
                Session(self.settings, self.portal, self.client, own, run_id, "great_sync", dry_run)
                # Where none may be written, the first one says why.
                for own in chosen or maps(self.settings, self.client.base_id).values()
            ]
            self._begun = self._pool(1).submit(tracing.carried(self._begin))
        return self._begun

    def wait_until_known(self) -> None:
        """Until the first windows are being listed, or it is known why they cannot be. Whoever
        imports Dagster afterwards holds up none of these calls, and meets no thread that imports.
        """
        begun = self.begin()
        for session in self.sessions[:1]:
            session.import_client()  # while the first call is under way
        wait([begun])

    def outlook(self) -> Outlook:
        """Waits until it is known. Raises why it cannot be."""
        return self.begin().result()[0]

    def windows(self) -> Iterator[Ready]:
        """See ``Windows.as_they_end``."""
        return self.begin().result()[1].as_they_end()

    def close(self) -> None:
        """End what is still being listed."""
        self._ended.set()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def _pool(self, threads: int) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(threads, thread_name_prefix="list")
        self._pools.append(pool)
        return pool

    def _begin(self) -> tuple[Outlook, Windows]:
        for session in self.sessions:
            session.check_mapping()
        outlook, samples = self._look_out()
        if self.choice.dry_run and linked(self.sessions):
            # What one window's run would make, another one's may link to.
            whole = [month for group in outlook.groups for month in group]
            outlook = replace(outlook, groups=[whole])
        at_a_time = FIRST_AT_A_TIME if samples else LISTED_AT_A_TIME
        pool = self._pool(at_a_time)
        windows = Windows(self.sessions, outlook.groups, samples, at_a_time, pool, self._ended)
        return outlook, windows

    def _look_out(self) -> tuple[Outlook, Mapping[str, Sequence[datetime]]]:
        """The outlook, and a sample of each base of which nothing is known."""
        left, by_sync = known.MonthsLeft(self.months), dict[str, dict[str, int]]()
        with self.portal.begin() as connection:
            for session in self.sessions:
                known_of = known.leads_by_month(connection, session.pair)
                by_sync[session.map.name] = {} if session.moved else known_of
            if not self.choice.dry_run:
                left = known.left_of_great_sync(
                    connection,
                    [session.pair for session in self.sessions],
                    self.months,
                    afresh=self.choice.afresh,
                )
        goes_on = None
        if left.since is not None:
            goes_on = (
                f"{self.client.name}: goes on with the {len(left.months)} of {len(self.months)} "
                f"months that are left of the Great Sync of "
                f"{left.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC; --afresh begins anew."
            )
        unknown = [session for session in self.sessions if not by_sync[session.map.name]]
        with ThreadPoolExecutor(len(self.sessions)) as pool:
            pages = {s.map.name: pool.submit(tracing.carried(sample_base), s) for s in unknown}
        samples = {name: page.result() for name, page in pages.items()}
        telling = {name: one for name, one in samples.items() if tells_of_all(one)}
        if len(samples) == len(self.sessions):
            # As many as the largest table needs.
            cut = [
                unknown_grouped(left.months, sample, FIRST_AT_A_TIME) for sample in samples.values()
            ]
            groups = max(cut, key=len)
            return Outlook(groups, len(groups) * len(cut), None, goes_on), telling
        leads = sum((Counter(one) for one in by_sync.values()), Counter[str]())
        groups = grouped(left.months, leads, LISTED_LEADS, LISTED_AT_A_TIME)
        calls = sum(
            max(1, math.ceil(sum(one.get(month, 0) for month in group) / PAGE))
            for group in groups
            for one in by_sync.values()
        )
        expected = sum(leads[month] for group in groups for month in group)
        return Outlook(groups, calls, expected, goes_on), telling


def begin(settings: Settings, client_id: str | None, choice: Choice) -> list[Ahead]:
    """One client or all of them; the listing of the first has begun.

    Raises ConfigurationError before anything is asked where a setting is missing.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    portal = open_portal(settings)
    tokens.require_some(settings, portal)
    months = choice.months(datetime.now(UTC))
    clients = [
        Ahead(settings, portal, client, choice, months)
        for client in chosen_clients(portal, client_id)
    ]
    for first in clients[:1]:
        first.begin()
    return clients
