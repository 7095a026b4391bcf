from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def test_callers_at_once_share_one_row_of_slots(bucket: Callable[..., Bucket]) -> None:
    """Four callers, as four processes would be: together they are no faster than one may be."""

    def call(_: int) -> None:
        own = bucket()
        for _ in range(5):
            own.take()

    began = monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    assert monotonic() - began >= 19 / 20


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
def test_a_call_that_arrived_late_counts_in_the_second_after_it(
    portal: Engine, others: int
) -> None:
    """Airtable counts it where it arrived: the fifth after it waits a whole second from there."""
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    sent = bucket.take()
    for _ in range(others):
        bucket.take()
    bucket.arrived_late(sent, 0.4)
    for _ in range(5 - others):
        bucket.take()
    assert monotonic() - sent >= 1.4


def test_delays_that_the_spacing_allows_for_cost_nothing(portal: Engine) -> None:
    bucket = Bucket(portal, "appBase", purpose="delta", urgent=True, calls_per_second=4.7)
    bucket.take()
    with portal.connect() as connection:
        slots = [connection.execute(text("SELECT next_slot FROM reconciler.call_bucket")).scalar()]
        bucket.arrived_late(monotonic() - 0.2, 0.04)
        connection.commit()
        slots += connection.execute(text("SELECT next_slot FROM reconciler.call_bucket")).scalars()
    assert slots[0] == slots[1]
