from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic

import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.postgres.bucket import Bucket
from reconciler_dagster.postgres.connection import engine


@pytest.fixture
def portal(portal_db: str) -> Engine:
    return engine(portal_db)


@pytest.fixture
def bucket(portal: Engine) -> Callable[..., Bucket]:
    def make(*, urgent: bool = True, purpose: str = "delta") -> Bucket:
        return Bucket(portal, "appBase", purpose=purpose, urgent=urgent, calls_per_second=20)

    return make


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
    slots = [bucket().take() for _ in range(21)]
    assert slots[19].began - slots[0].began < slots[20].began - slots[19].began
    assert slots[20].began - began >= 1


def test_what_is_not_urgent_calls_evenly(bucket: Callable[..., Bucket]) -> None:
    own = bucket(urgent=False)
    slots = [own.take().began for _ in range(6)]
    assert all(other - one >= 1 / 20 - 0.005 for one, other in pairwise(slots))


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
    arrivals = [bucket.take().began for _ in range(others)]
    bucket.arrived_late(late, 0.7)
    arrivals += [bucket.take().began for _ in range(8 - others)]
    assert most_in_a_second(sorted([*arrivals, late.began + 0.7])) <= 5


def test_who_wakes_late_says_so_before_the_call(
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
    following = [bucket.take().began for _ in range(5)]
    assert following[-1] - arrived >= 0.99


def test_delays_that_a_window_allows_for_cost_nothing(portal: Engine) -> None:
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    slot = bucket.take()
    arrivals = []
    for delay in (0.0, 0.04):
        bucket.arrived_late(slot, delay)
        with portal.connect() as connection:
            found = connection.execute(text("SELECT arrivals FROM reconciler.call_bucket"))
            arrivals.append(found.scalar())
    assert arrivals[0] == arrivals[1]
