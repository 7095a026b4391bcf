from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic

import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.bucket import Bucket
from reconciler_dagster.postgres.connection import engine

# Seconds that a call may be longer on its way than another one, and nobody sees it.
UNSEEN_WAY = 0.03


@pytest.fixture
def portal(portal_db: str) -> Engine:
    return engine(portal_db)


@pytest.fixture
def bucket(portal: Engine) -> Callable[..., Bucket]:
    def make(*, urgent: bool = True, purpose: str = "delta") -> Bucket:
        return Bucket(portal, "appBase", purpose=purpose, urgent=urgent, calls_per_second=20)

    return make


def gone(bucket: Bucket) -> float:
    """When a call that waits for its turn may leave at the earliest."""
    bucket.take()
    return monotonic()


def most_in_a_second(times: list[float]) -> int:
    return max(bisect_right(times, t) - bisect_right(times, t - 1) for t in times)


def test_callers_at_once_share_the_second(bucket: Callable[..., Bucket]) -> None:
    """Four callers, as four processes would be, urgent and not: together no more than one may."""
    times: list[float] = []

    def call(number: int) -> None:
        own = bucket(urgent=number % 2 == 0)
        for _ in range(12):
            times.append(own.take().arrives / 1_000_000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    assert len(times) == 48
    assert most_in_a_second(sorted(times)) <= 20


def test_a_delta_may_use_up_the_second_at_once(bucket: Callable[..., Bucket]) -> None:
    began = monotonic()
    times = [gone(bucket()) for _ in range(21)]
    assert times[19] - times[0] < times[20] - times[19]
    assert times[20] - began >= 1


def test_what_is_not_urgent_calls_evenly(bucket: Callable[..., Bucket]) -> None:
    own = bucket(urgent=False)
    slots = [own.take().arrives / 1_000_000 for _ in range(6)]
    assert all(other - one >= 1 / 20 for one, other in pairwise(slots))


def test_calls_are_logged_by_purpose(portal: Engine, bucket: Callable[..., Bucket]) -> None:
    for purpose, calls in (("delta", 3), ("audit", 2)):
        own = bucket(purpose=purpose)
        for _ in range(calls):
            own.take()
    with portal.connect() as connection:
        rows = connection.execute(
            text("SELECT purpose, sum(calls) FROM reconciler.call_log GROUP BY 1 ORDER BY 1")
        )
        assert [tuple(row) for row in rows] == [("audit", 2), ("delta", 3)]


def test_a_lock_out_is_honoured_by_everybody(bucket: Callable[..., Bucket]) -> None:
    first, second = bucket(), bucket()
    first.take()
    began = monotonic()
    first.lock_out(1.0, "429 from Airtable")
    second.take()
    assert monotonic() - began >= 1.0


def test_the_audit_stands_back_while_a_delta_calls(bucket: Callable[..., Bucket]) -> None:
    delta, audit = bucket(), bucket(urgent=False, purpose="audit")
    order: list[str] = []

    def calls_of_the_audit() -> None:
        audit.take()
        order.append("audit")

    with ThreadPoolExecutor(1) as pool:
        delta.take()
        waiting = pool.submit(calls_of_the_audit)
        for _ in range(10):
            delta.take()
            order.append("delta")
        waiting.result()
    assert order == ["delta"] * 10 + ["audit"]


@pytest.mark.parametrize("others", [0, 1, 4])
def test_a_call_that_arrived_late_counts_where_it_arrived(portal: Engine, others: int) -> None:
    """Whoever goes next, no second sees six arrivals."""
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    late = bucket.take()
    arrivals = [gone(bucket) for _ in range(others)]
    bucket.arrived_late(late, 0.7)
    arrivals += [gone(bucket) for _ in range(8 - others)]
    assert most_in_a_second(sorted([*arrivals, late.began + 0.7])) <= 5


def test_who_wakes_late_counts_when_it_woke(
    portal: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    for _ in range(5):
        bucket.take()
    woken = time.sleep
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: woken(seconds + 0.5))
        bucket.take()
    arrived = monotonic()
    following = [gone(bucket) for _ in range(5)]
    assert following[-1] - arrived >= 0.99


@pytest.mark.parametrize("told_late", [0.25, 0.5, 0.75, 0.9, 1.0])
def test_what_is_not_told_leaves_room_for_ways_that_nobody_sees(
    portal: Engine, told_late: float
) -> None:
    """A call that left late by a share of the spare and was on its way for 30 ms longer than the
    others: nobody tells of the way.
    """
    rate = Settings.model_fields["calls_per_second"].default
    spare = 5 / rate - 1
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=rate)
    first = bucket.take()
    bucket.arrived_late(first, told_late * spare)
    arrived = first.began + told_late * spare + UNSEEN_WAY
    time.sleep(told_late * spare + UNSEEN_WAY)  # so that it is the oldest, on a fast machine too
    for _ in range(4):
        bucket.take()
    assert gone(bucket) - arrived >= 1


@pytest.mark.parametrize("seed", range(3))
def test_late_calls_and_uneven_ways_bring_no_call_too_many(portal: Engine, seed: int) -> None:
    """Four callers, as four processes would be, one of which dies with its turn taken. What they
    leave late by they tell when they have left; what they are longer on their way they do not.
    """
    in_second = 20
    rate = Settings.model_fields["calls_per_second"].default * in_second / 5
    arrivals: list[float] = []

    def call(number: int) -> None:
        chance = random.Random(10 * seed + number)
        own = Bucket(portal, "appBase", purpose="x", urgent=number % 2 == 0, calls_per_second=rate)
        for _ in range(5 if number == 3 else 20):
            slot = own.take()
            time.sleep(chance.uniform(0, 0.06))
            left = monotonic()
            arrivals.append(left + chance.uniform(0, UNSEEN_WAY))
            own.arrived_late(slot, left - slot.began)
        if number == 3:
            own.take()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    assert len(arrivals) == 65
    assert most_in_a_second(sorted(arrivals)) <= in_second


def test_a_call_is_told_twice_and_counts_once(portal: Engine) -> None:
    """When it has left, and again when it is known how long it was on its way."""
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    slot = bucket.take()
    left = bucket.arrived_late(slot, 0.1)
    arrived = bucket.arrived_late(left, 0.3)
    assert arrived.began == pytest.approx(slot.began + 0.4)
    with portal.connect() as connection:
        (noted,) = connection.execute(
            text("SELECT unnest(arrivals) FROM reconciler.call_bucket")
        ).scalars()
    assert noted.timestamp() == pytest.approx(slot.arrives / 1_000_000 + 0.4, abs=1e-4)


def test_delays_that_a_window_allows_for_cost_nothing(portal: Engine) -> None:
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    slot = bucket.take()
    arrivals = []
    for delay in (0.0, 0.015):
        bucket.arrived_late(slot, delay)
        with portal.connect() as connection:
            found = connection.execute(text("SELECT arrivals FROM reconciler.call_bucket"))
            arrivals.append(found.scalar())
    assert arrivals[0] == arrivals[1]
