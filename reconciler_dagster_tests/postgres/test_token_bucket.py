"""However many bases a token has, no second sees more calls of it than Airtable takes."""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from reconciler_dagster.airtable.owner import token_owner
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.postgres import token_bucket
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.token_bucket import CALLS, OF_A_BASE, WINDOW, TokenBucket
from reconciler_dagster_tests.adopted import add_clients
from reconciler_dagster_tests.deployment import eventually
from reconciler_dagster_tests.world import World, world

BASE = "appBase1"


def clients(portal: Engine, number: int) -> None:
    with portal.begin() as connection:
        add_clients(connection, number)


@pytest.fixture
def portal(portal_db: str) -> Engine:
    own = engine(portal_db)
    clients(own, CALLS // OF_A_BASE + 1)
    return own


def keys(portal: Engine) -> list[str]:
    with portal.connect() as connection:
        return list(
            connection.execute(text("SELECT base_id FROM reconciler.call_bucket")).scalars()
        )


def most_in(seconds: float, times: list[float]) -> int:
    return max(bisect_right(times, t) - bisect_right(times, t - seconds) for t in times)


PAUSES = st.lists(st.floats(0, 0.03), min_size=1, max_size=8)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(PAUSES, min_size=1, max_size=6), st.integers(1, 6))
def test_no_window_sees_more_than_are_allowed(
    portal: Engine, callers: list[list[float]], calls: int
) -> None:
    """Callers of any number of processes, at any pace, with one token."""
    token = f"pat{uuid4()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_bucket, "CALLS", calls)
        patch.setattr(token_bucket, "WINDOW", 0.1)

        def call(pauses: list[float]) -> list[float]:
            own, noted = TokenBucket(portal, BASE), []
            for pause in pauses:
                time.sleep(pause)
                at = own.take(token)
                assert at is not None
                noted.append(at)
            return noted

        with ThreadPoolExecutor(len(callers)) as pool:
            times = sorted(at for noted in pool.map(call, callers) for at in noted)
    assert len(times) == sum(map(len, callers))
    # To the microsecond, which is what Postgres keeps.
    assert most_in(0.1 - 1e-5, times) <= calls


def test_a_second_sees_no_more_than_airtable_takes(portal: Engine) -> None:
    own = TokenBucket(portal, BASE)
    times = [at for _ in range(CALLS + 1) if (at := own.take("patOne"))]
    assert times[-1] - times[0] >= WINDOW
    assert most_in(1, times) <= CALLS < 50


def test_tokens_do_not_wait_for_each_other_and_none_is_kept(
    portal: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_bucket, "CALLS", 1)
    monkeypatch.setattr(token_bucket, "WINDOW", 3600)
    own = TokenBucket(portal, BASE)
    assert own.take("patOne")
    assert own.take("patTwo")
    digest = hashlib.blake2b(b"patOne", digest_size=16).hexdigest()
    assert f"token {digest}" in keys(portal)
    assert not any("pat" in key for key in keys(portal))


def test_few_bases_ask_for_nothing(portal_db: str) -> None:
    own = engine(portal_db)
    clients(own, CALLS // OF_A_BASE)
    assert TokenBucket(own, BASE).take("patOne") is None
    assert keys(own) == []


BASES = ("appAcme0000000000", "appBeta0000000000")
LOCKOUT = 3


@pytest.fixture
def both(portal_db: str) -> Iterator[tuple[World, World]]:
    """Two clients with a base each, both called with one token, that have met."""
    with world(portal_db, leads=5, base_ids=BASES, limited=True) as acme:
        acme.sql(
            "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Beta', :base)",
            base=BASES[1],
        )
        acme.adopt()
        beta = World(portal_db, acme.sandbox.on(BASES[1]))
        with acme.engine.connect() as connection:
            beta.client = next(c for c in active_clients(connection) if c.name == "Beta")
        acme.sandbox.switch(lockout_seconds=LOCKOUT)
        for one in (acme, beta):
            one.settings.lockout_seconds = LOCKOUT
            one.sync()
        acme.sandbox.reset_calls()
        yield acme, beta


def of_bases(acme: World) -> list[tuple[str, int]]:
    """Base and status of every call to one."""
    paths = ((call["path"].split("/")[2], call["status"]) for call in acme.sandbox.calls())
    return [(base, status) for base, status in paths if base in BASES]


def test_a_429_to_a_user_keeps_every_base_of_its_token_from_calling(
    both: tuple[World, World],
) -> None:
    """Another program of the same user calls too often: one call of ours finds out for all."""
    acme, beta = both
    acme.sandbox.switch(calls_per_second_and_user=1)
    for _ in range(2):
        with suppress(SourceError):
            token_owner(acme.settings)
    acme.sandbox.switch(calls_per_second_and_user=50)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(acme.sync)]
        locked = "SELECT base_id FROM reconciler.call_bucket WHERE locked_until > clock_timestamp()"
        eventually(lambda: runs[0].done() or len(acme.sql(locked)) == 3)
        assert {row.base_id for row in acme.sql(locked)} > {*BASES}
        runs.append(pool.submit(beta.sync))
        for run in runs:
            run.result()
    seen = of_bases(acme)
    assert [base for base, status in seen if status == 429] == [BASES[0]]
    assert (BASES[1], 200) in seen


def test_a_base_that_was_never_called_with_a_locked_out_token_waits_too(portal: Engine) -> None:
    first = TokenBucket(portal, BASE)
    began = time.monotonic()
    first.lock_out("patOne", 3, "429")
    assert first.is_locked_out("patOne")
    assert not first.is_locked_out("patTwo")
    TokenBucket(portal, "appBase2").take("patOne")
    assert time.monotonic() - began >= 3
    assert not first.is_locked_out("patOne")


def test_a_429_to_a_base_alone_holds_up_no_other(both: tuple[World, World]) -> None:
    acme, beta = both
    acme.sandbox.fault("status", status=429, path=BASES[0], times=1)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(acme.sync)
        eventually(lambda: (BASES[0], 429) in of_bases(acme))
        beta.sync()
        run.result()
    assert (BASES[1], 429) not in of_bases(acme)
    locked = acme.sql(
        "SELECT base_id FROM reconciler.call_bucket WHERE locked_until > now() - interval '1 hour'"
    )
    assert [row.base_id for row in locked] == [BASES[0]]


def test_a_run_waits_for_its_token_before_each_call(
    portal_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user that may make fewer calls than a base takes: Airtable refuses none of them."""
    monkeypatch.setattr(token_bucket, "CALLS", 2)
    with world(portal_db, leads=250, limited=True) as acme:
        acme.sandbox.switch(calls_per_second_and_user=2)
        acme.sync()
        record_ids = sorted(acme.sandbox.records())[:30]
        for record_id in record_ids:
            acme.update(record_id, notes="x")
        acme.sync()
        seen = [call["status"] for call in acme.sandbox.calls()]
        assert len(seen) > 6
        assert 429 not in seen
        assert acme.cell(record_ids[0], "Notes") == "x"
