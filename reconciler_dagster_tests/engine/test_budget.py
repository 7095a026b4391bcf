"""The call budget as Airtable sees it, whoever calls, dies or is refused meanwhile."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from operator import itemgetter

import pytest

from reconciler_dagster import effects
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.engine.listing import sample_base
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.model.stage import Killed
from reconciler_dagster_tests.world import World, world

ALLOWED = 5


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=240, limited=True) as here:
        here.settings.lockout_seconds = 2
        here.sandbox.switch(lockout_seconds=2)
        yield here


def arrivals(acme: World) -> list[tuple[float, int | None]]:
    """Seconds and status of every call to the base, in the order in which they arrived."""
    calls = sorted(acme.sandbox.calls(), key=itemgetter("time"))
    return [
        (call["time"] / 1000, call["status"])
        for call in calls
        if not call["path"].endswith("/meta/whoami")
    ]


def most_in_a_second(times: list[float]) -> int:
    return max(bisect_right(times, t) - bisect_right(times, t - 1) for t in times)


def test_nobody_together_exceeds_it(acme: World) -> None:
    """Two deltas, a Great Sync and a run that is killed between its calls, all at once."""
    acme.sync()
    for n, record_id in enumerate(sorted(acme.sandbox.records())[:60]):
        acme.update(record_id, hrq_status=("Archive", "Qualified")[n % 2])
    count = iter(range(10**6))

    def kill(moment: str, name: str) -> None:
        if name.endswith("to Airtable") and moment == "after" and next(count) == 3:
            raise Killed

    effects.hook = kill
    with suppress(Killed):
        acme.sync()
    effects.hook = None
    with ThreadPoolExecutor(3) as pool:
        ways = (acme.sync, partial(windows.sweep, acme), acme.sync)
        runs: list[Future[object]] = [pool.submit(way) for way in ways]
        for run in runs:
            run.result()
    seen = arrivals(acme)
    assert [status for _, status in seen if status == 429] == []
    assert most_in_a_second([at for at, _ in seen]) <= ALLOWED
    acme.assert_converged()


def test_uneven_ways_and_answers_bring_no_sixth_call(acme: World) -> None:
    """A call counts when it arrives. Two deltas with writes and a Great Sync in pieces at once."""
    acme.sync()
    for n, record_id in enumerate(sorted(acme.sandbox.records())[:60]):
        acme.update(record_id, hrq_status=("Archive", "Qualified")[n % 2])
    acme.sandbox.reset_calls()
    acme.sandbox.switch(
        way_there_ms=20, way_jitter_ms=30, thinking_ms=100, thinking_tail_ms=300, latency_seed=5
    )
    with ThreadPoolExecutor(3) as pool:
        ways = (acme.sync, partial(windows.sweep, acme), acme.sync)
        runs: list[Future[object]] = [pool.submit(way) for way in ways]
        for run in runs:
            run.result()
    seen = arrivals(acme)
    assert len(seen) > 10
    assert [status for _, status in seen if status == 429] == []
    assert most_in_a_second([at for at, _ in seen]) <= ALLOWED
    acme.sandbox.switch(way_there_ms=0, way_jitter_ms=0, thinking_ms=0, thinking_tail_ms=0)
    acme.assert_converged()


@pytest.mark.parametrize("late", [0.4, 0.9, 1.5])
def test_a_call_that_leaves_late_brings_no_sixth(acme: World, late: float) -> None:
    """A little late, it is told before its answer comes, and the next ones go meanwhile; others
    may have gone in the place of one that was held up longer.
    """
    callers = [windows.session(acme, "delta") for _ in range(2 * ALLOWED)]
    for own in callers:
        own.bound  # noqa: B018 - read before the calls that are looked at
    acme.sandbox.reset_calls()
    acme.sandbox.switch(thinking_ms=1500)
    first = iter([True])

    def dawdle(moment: str, name: str) -> None:
        if moment == "before" and name.endswith("to Airtable") and next(first, False):
            time.sleep(late)

    effects.hook = dawdle
    try:
        with ThreadPoolExecutor(len(callers)) as pool:
            list(pool.map(sample_base, callers))
    finally:
        effects.hook = None
    seen = arrivals(acme)
    assert [status for _, status in seen if status == 429] == []
    assert most_in_a_second([at for at, _ in seen]) <= ALLOWED


def test_a_call_that_waits_long_for_its_token_asks_for_it_once(acme: World) -> None:
    """Where many clients share a token, a slot of it that is given away is another one's call."""
    own = windows.session(acme, "delta")
    own.bound  # noqa: B018 - read before the calls that are looked at
    asked: list[str] = []

    def wait(token: str) -> None:
        asked.append(token)
        time.sleep(0.7)  # so that the base's slot is of no use any more

    with own.borrowed_base() as base:
        base.transport.wait_for_token = wait  # type: ignore[attr-defined]
    acme.sandbox.reset_calls()
    sample_base(own)
    assert len(acme.sandbox.calls()) == len(asked) == 1


def test_another_integration_costs_one_lock_out_and_no_call_within_it(acme: World) -> None:
    """What is on its way when the 429 is told may still arrive; after that nobody calls."""
    acme.sync()
    for record_id in sorted(acme.sandbox.records())[:60]:
        acme.update(record_id, hrq_status="Archive")
    acme.sandbox.foreign_calls(ALLOWED)
    with ThreadPoolExecutor(2) as pool:
        ways = (acme.sync, partial(windows.sweep, acme))
        runs: list[Future[object]] = [pool.submit(way) for way in ways]
        for run in runs:
            with suppress(SourceError):
                run.result()
    seen = arrivals(acme)
    refused = [time for time, status in seen if status == 429]
    assert refused
    first = refused[0]
    assert [time for time in refused if time > first + 0.5] == [], "a second lock-out"
    within = [time for time, _ in seen if first + 0.5 < time < first + 2]
    assert within == []
    acme.sync()
    acme.assert_converged()
