"""A run whose lease is lost while it is at work: what it still does, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from reconciler_dagster import effects
from reconciler_dagster.postgres import adoption, lock
from reconciler_dagster.postgres.lock import LeaseLost, client_lock
from reconciler_dagster_tests.world import World

Stopped = Callable[[str, Callable[[], None]], None]


@pytest.fixture
def stopped(acme: World) -> Iterator[Stopped]:
    """Has the next run stop for a minute just before or after its PATCH: "before" or "after"."""
    clock, slept = lock._now, [0.0]

    def at(moment: str, meanwhile: Callable[[], None]) -> None:
        def stop(when: str, name: str) -> None:
            if (when, name) == (moment, "PATCH to Airtable"):
                effects.hook = None
                slept[0] += 60
                acme.sql("UPDATE reconciler.lease SET expires_at = '-infinity'")
                meanwhile()

        effects.hook = stop

    with patch.object(lock, "_now", lambda: clock() + slept[0]):
        yield at
    effects.hook = None


PLANNED = "SELECT count(*) FROM reconciler.journal WHERE state = 'sent'"


def patches(acme: World) -> int:
    return sum(call["method"] == "PATCH" for call in acme.sandbox.calls())


def test_a_call_is_not_begun_when_the_lease_has_run_out_over_the_question_of_consent(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres is long in answering it, and another run takes the client over meanwhile."""
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")
    clock, slept, require = lock._now, [0.0], adoption.require

    def long(*asked: Any) -> None:
        require(*asked)
        if acme.value(PLANNED):
            slept[0] = 60.0
            acme.sql("UPDATE reconciler.lease SET expires_at = '-infinity'")
            with client_lock(acme.engine, acme.client.id, "takes it over", 5):
                pass

    acme.sandbox.reset_calls()
    with monkeypatch.context() as slow:
        slow.setattr(lock, "_now", lambda: clock() + slept[0])
        slow.setattr(adoption, "require", long)
        with pytest.raises(LeaseLost):
            acme.sync()
    assert slept == [60.0]
    assert patches(acme) == 0
    acme.sync()
    acme.assert_converged()


def test_a_call_is_not_begun_when_the_lease_has_run_out(acme: World, stopped: Stopped) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")

    def meanwhile() -> None:
        with client_lock(acme.engine, acme.client.id, "another", 0):
            acme.sandbox.edit(record_id, {"HRQ Status": "Review"})

    stopped("before", meanwhile)
    with pytest.raises(LeaseLost, match="run again"):
        acme.sync()
    assert patches(acme) == 0
    assert acme.cell(record_id, "HRQ Status") == "Review"
    acme.sync()
    assert acme.sql("SELECT losing_value FROM reconciler.conflict") == [("Archive",)]
    acme.assert_converged()
    acme.assert_quiet()


def test_a_lease_that_nobody_took_is_taken_up_again(acme: World, stopped: Stopped) -> None:
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")
    stopped("before", lambda: None)
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") == "Archive"
    acme.assert_quiet()


def test_the_late_answer_to_an_overtaken_run_is_not_agreed_on(
    acme: World, stopped: Stopped
) -> None:
    """What the other run has agreed on is newer."""
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")

    def meanwhile() -> None:
        acme.sync()
        acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
        acme.sync()

    stopped("after", meanwhile)
    with pytest.raises(LeaseLost):
        acme.sync()
    assert acme.sides()[2][record_id]["hrq_status"] == "Review"
    acme.assert_converged()
    acme.assert_quiet()
