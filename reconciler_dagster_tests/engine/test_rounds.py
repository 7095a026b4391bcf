"""Hundreds that are on their way side by side: here of four leads, so that there are many."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Condition, Event, Lock
from typing import Any

import pytest

from reconciler_dagster import effects
from reconciler_dagster.engine import ahead, rounds, send
from reconciler_dagster.engine.ahead import Reading
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres.lock import LeaseLost
from reconciler_dagster_tests.world import World

# Nobody waits so long unless what is waited for never comes.
FOR_EVER = 60.0
PATCH = "PATCH to Airtable"
TAKEN = ("Archive", "Review")  # values that are written here


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hundreds of four leads, of two batches each."""
    monkeypatch.setattr(rounds, "HUNDRED", 4)
    monkeypatch.setattr(send, "BATCH", 2)
    yield
    effects.hook = None


def edited(acme: World, count: int) -> list[str]:
    """So many leads that somebody has edited in the portal, in the order in which they go."""
    there = acme.sandbox.records()
    open_ = [r for r in sorted(there) if there[r]["fields"].get("HRQ Status") not in TAKEN]
    chosen = open_[:count]
    for record_id in chosen:
        acme.update(record_id, hrq_status="Archive")
    assert len(chosen) == count
    return chosen


class Readings:
    """What the run reads again just before it sends: how often, and how many PATCHes had been
    answered when each began.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended, self.answered, self.when_begun = 0, 0, list[int]()
        self.changed = Condition()
        read = ahead.read_now

        def noted(session: Session, record_ids: list[str]) -> Reading:
            self.when_begun.append(self.answered)
            reading = read(session, record_ids)
            with self.changed:
                self.ended += 1
                self.changed.notify_all()
            return reading

        monkeypatch.setattr(ahead, "read_now", noted)
        monkeypatch.setattr(rounds, "read_now", noted)

    def wait_for(self, number: int) -> None:
        """Until so many have ended."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.ended >= number, FOR_EVER)


def test_the_next_hundred_is_sent_before_the_last_answer_to_the_one_before_has_come(
    acme: World,
) -> None:
    chosen, lock, sent, third = edited(acme, 12), Lock(), [], Event()

    def hold_the_second(moment: str, name: str) -> None:
        if (moment, name) != ("before", PATCH):
            return
        with lock:
            sent.append(name)
            number = len(sent)
        if number == 2:
            assert third.wait(FOR_EVER), "the second hundred waits for the first one's answers"
        if number == 3:
            third.set()

    effects.hook = hold_the_second
    assert acme.sync().counts.remote_writes == 12
    assert {acme.cell(r, "HRQ Status") for r in chosen} == {"Archive"}
    acme.assert_converged()


def test_no_more_than_two_hundreds_are_on_their_way(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a third one the reading would be old before it is its turn."""
    edited(acme, 20)
    begun = most = 0
    begin, end = send.begin, send.end

    def count(*arguments: Any) -> Any:
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        return begin(*arguments)

    def count_down(*arguments: Any) -> None:
        nonlocal begun
        end(*arguments)
        begun -= 1

    monkeypatch.setattr(send, "begin", count)
    monkeypatch.setattr(send, "end", count_down)
    assert acme.sync().counts.remote_writes == 20
    assert (begun, most) == (0, 2)


def test_the_next_hundred_is_read_when_it_is_almost_its_turn(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else, at a low rate, what was read would be old when it is sent."""
    edited(acme, 8)
    readings = Readings(monkeypatch)
    monkeypatch.setattr(rounds, "AHEAD_SECONDS", 1 / acme.settings.calls_per_second)

    def count(moment: str, name: str) -> None:
        readings.answered += (moment, name) == ("after", PATCH)

    effects.hook = count
    acme.sync()
    assert readings.when_begun[0] == 0
    assert readings.when_begun[1] >= 1


def test_an_old_reading_is_not_sent_because_a_hundred_before_it_went(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch of a round goes at any age; the first one of the next hundred does not."""
    chosen = edited(acme, 12)
    monkeypatch.setattr(send, "FRESH_SECONDS", -1.0)
    readings = Readings(monkeypatch)

    def edit(moment: str, name: str) -> None:
        if (moment, name) == ("before", PATCH):
            effects.hook = None
            # All three as old at first; then the first one, which is going, and the second one.
            readings.wait_for(3 + 2)
            acme.sandbox.edit(chosen[4], {"HRQ Status": "Review"})

    effects.hook = edit
    assert acme.sync().counts.conflicts == 1
    assert acme.cell(chosen[4], "HRQ Status") == acme.lead(chosen[4])["hrq_status"] == "Review"
    acme.assert_converged()


def test_what_a_person_edits_while_hundreds_are_on_their_way_is_not_written_over(
    acme: World,
) -> None:
    chosen = edited(acme, 16)

    def edit(moment: str, name: str) -> None:
        if (moment, name) == ("after", PATCH):
            effects.hook = None
            acme.sandbox.edit(chosen[-1], {"HRQ Status": "Review"})

    effects.hook = edit
    acme.sync()
    assert acme.cell(chosen[-1], "HRQ Status") == acme.lead(chosen[-1])["hrq_status"] == "Review"
    assert {acme.cell(r, "HRQ Status") for r in chosen[:-1]} == {"Archive"}
    acme.assert_converged()


def test_fields_are_looked_at_when_nothing_is_on_its_way(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is read with the fields as they were when it was asked for."""
    chosen, lock, flying, seen = edited(acme, 12), Lock(), 0, []
    check = Session.check_mapping

    def count(moment: str, name: str) -> None:
        nonlocal flying
        if name == PATCH:
            with lock:
                flying += 1 if moment == "before" else -1

    def look(self: Session, **how: Any) -> Any:
        if how.get("force"):
            seen.append(flying)
        return check(self, **how)

    effects.hook = count
    monkeypatch.setattr(Session, "check_mapping", look)
    acme.sandbox.fault("slow", seconds=0.5, method="PATCH", times=100)
    with acme.underway():
        acme.sandbox.edit(chosen[5], {"Company": None})
        acme.sandbox.edit(chosen[9], {"Company": None})
    assert seen == [0, 0]
    acme.assert_converged()


def test_a_refusal_stops_what_has_not_set_out_yet(acme: World) -> None:
    """A 429 in one hundred is about the next one too; all are read again before they are sent."""
    chosen = edited(acme, 24)
    acme.sandbox.fault("status", status=429, method="PATCH", skip=1)
    ran = acme.sync()
    assert ran.counts.remote_writes == 24
    assert {acme.cell(r, "HRQ Status") for r in chosen} == {"Archive"}
    acme.assert_converged()


def test_a_lease_that_is_lost_ends_all_of_them(acme: World) -> None:
    """What was on its way is settled by the next run."""
    chosen = edited(acme, 24)

    def lose(moment: str, name: str) -> None:
        if (moment, name) == ("after", PATCH):
            effects.hook = None
            acme.sql("UPDATE reconciler.lease SET fence = fence + 1, run_id = 'another run'")

    effects.hook = lose
    with pytest.raises(LeaseLost):
        acme.sync()
    acme.sql("UPDATE reconciler.lease SET expires_at = '-infinity'")
    acme.sync()
    assert {acme.cell(r, "HRQ Status") for r in chosen} == {"Archive"}
    acme.assert_converged()
