"""A world whose runs go through Dagster, in which causes are made to happen for real."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.watcher import Watcher, look
from reconciler_dagster.orchestration.ahead import Choice, begin
from reconciler_dagster.orchestration.execute import sync_clients
from reconciler_dagster.orchestration.great_sync import sync_windows
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster_tests.deployment import eventually
from reconciler_dagster_tests.notices.receivers import Endpoint, Mailbox, notice_settings
from reconciler_dagster_tests.notices.table import WRITES, note
from reconciler_dagster_tests.orchestration.conftest import Told
from reconciler_dagster_tests.world import World


@dataclass(frozen=True)
class Cause:
    """``done``: what is done, in words; ``make``: does it; ``mend``: ends it; ``settings``: of the
    looks meanwhile; ``whom``: as the title tells it.
    """

    done: str
    make: Callable[[Stage], Any]
    mend: Callable[[Stage], Any]
    settings: dict[str, Any] = field(default_factory=dict)
    whom: str = " (1 client)"


@dataclass
class Stage:
    """A world whose runs go through Dagster, and those who are told of it."""

    acme: World
    instance: dg.DagsterInstance
    web: Endpoint
    box: Mailbox
    patch: pytest.MonkeyPatch

    def run(self, times: int = 1) -> None:
        for _ in range(times):
            list(sync_clients(self.acme.settings, self.instance, None, SyncConfig()))

    def great_sync(self) -> None:
        list(sync_windows(self.instance, begin(self.acme.settings, None, Choice()), Told()))

    def look(self, **more: Any) -> list[str]:
        """What is new in the mailbox."""
        before = len(self.box.mails)
        look(self._keeper(**more))
        return self._since(before)

    def hear(self, **more: Any) -> tuple[list[str], float]:
        """What comes into the mailbox, after how many seconds. Where the table is written, at the
        pace of a deployment; else at one look.
        """
        if not WRITES:
            return self.look(**more), 0.0
        before, began = len(self.box.mails), time.monotonic()
        settle = {"settle_seconds": 30} | more
        watcher = Watcher(self._keeper(**settle))
        watcher.start()
        eventually(lambda: len(self.box.mails) > before or time.monotonic() - began > 90)
        seconds = time.monotonic() - began
        watcher.end()
        return self._since(before), seconds

    def _keeper(self, **more: Any) -> Keeper:
        return Keeper(self.acme.settings, notice_settings(self.web, self.box, **more))

    def _since(self, before: int) -> list[str]:
        return [s.removeprefix("[Reconciler] ") for s in self.box.subjects[before:]]

    def goes_through(self, kind: str, cause: Cause) -> None:
        """The cause happens, is told of once, and is over."""
        cause.make(self)
        came, after = self.hear(**cause.settings)
        title = f"{KINDS[kind].happened}{cause.whom}"
        assert came == [title], came
        assert self.look(**cause.settings) == []
        cause.mend(self)
        over, over_after = self.hear()
        assert f"Over: {title}" in over, over
        assert self.look() == []
        note(kind, cause.done, title, after, over_after)

    def records(self) -> list[str]:
        return sorted(self.acme.sandbox.records())
