"""However many bases a token has, no second sees more calls of it than Airtable takes."""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from reconciler_dagster.postgres import token_bucket
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.token_bucket import CALLS, OF_A_BASE, WINDOW, TokenBucket
from reconciler_dagster_tests.world import world


def clients(portal: Engine, number: int) -> None:
    with portal.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO clients (company_name, airtable_base_id) "
                "SELECT 'Client ' || n, 'appBase' || n FROM generate_series(1, :number) n"
            ),
            {"number": number},
        )


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
            own, noted = TokenBucket(portal), []
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
    own = TokenBucket(portal)
    times = [at for _ in range(CALLS + 1) if (at := own.take("patOne"))]
    assert times[-1] - times[0] >= WINDOW
    assert most_in(1, times) <= CALLS < 50


def test_tokens_do_not_wait_for_each_other_and_none_is_kept(
    portal: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_bucket, "CALLS", 1)
    monkeypatch.setattr(token_bucket, "WINDOW", 3600)
    own = TokenBucket(portal)
    assert own.take("patOne")
    assert own.take("patTwo")
    digest = hashlib.blake2b(b"patOne", digest_size=16).hexdigest()
    assert f"token {digest}" in keys(portal)
    assert not any("pat" in key for key in keys(portal))


def test_few_bases_ask_for_nothing(portal_db: str) -> None:
    own = engine(portal_db)
    clients(own, CALLS // OF_A_BASE)
    assert TokenBucket(own).take("patOne") is None
    assert keys(own) == []


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
