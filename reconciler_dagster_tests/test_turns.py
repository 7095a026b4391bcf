"""Threads that wait one behind the other, by rank."""

from __future__ import annotations

import threading

import pytest

from reconciler_dagster.turns import Turns


class Waiters:
    """Threads that have a turn each; ``had``: their names in the order of their turns."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.had: list[str] = []
        self._threads: list[threading.Thread] = []

    def add(self, name: str, rank: int) -> None:
        """Returns when it waits."""

        def take() -> None:
            with self.turns.turn(rank):
                self.had.append(name)

        before = len(self.turns._waiting)
        self._threads.append(threading.Thread(target=take))
        self._threads[-1].start()
        while len(self.turns._waiting) == before:
            pass

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "it still waits"


def test_the_lowest_rank_is_next_and_of_equals_who_asked_first() -> None:
    waiters = Waiters()
    with waiters.turns.turn():
        for name, rank in (("second", 2), ("third", 2), ("first", 1), ("last", 3)):
            waiters.add(name, rank)
    waiters.join()
    assert waiters.had == ["first", "second", "third", "last"]


def test_one_has_a_turn_at_a_time() -> None:
    turns, inside, most = Turns(), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(200):
            with turns.turn():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_is_interrupted_while_it_waits_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first in line, just when its turn comes."""
    waiters = Waiters()
    wait = waiters.turns._changed.wait
    interrupted = threading.Event()

    def wait_or_be_interrupted(timeout: float | None = None) -> bool:
        woke = wait(timeout)
        if threading.current_thread().name == "interrupted" and not waiters.turns._taken:
            interrupted.set()
            raise KeyboardInterrupt
        return woke

    monkeypatch.setattr(waiters.turns._changed, "wait", wait_or_be_interrupted)

    def take() -> None:
        with pytest.raises(KeyboardInterrupt), waiters.turns.turn(0):
            waiters.had.append("interrupted")

    with waiters.turns.turn():
        first = threading.Thread(target=take, name="interrupted")
        first.start()
        while not waiters.turns._waiting:
            pass
        waiters.add("next", 1)
    first.join(60)
    waiters.join()
    assert interrupted.is_set()
    assert waiters.had == ["next"]


def test_a_turn_ends_where_its_work_fails() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="work"), turns.turn():
        raise ValueError("work")
    with turns.turn():
        pass
