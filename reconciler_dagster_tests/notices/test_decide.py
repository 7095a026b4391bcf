"""Which notices there are, from what is wrong: examples, and anything that may come and go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.notices.decide import (
    Cause,
    Event,
    Notice,
    Rules,
    State,
    What,
    step,
    without_consequences,
)
from reconciler_dagster.notices.kinds import KINDS

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULES = Rules()


def failing(*clients: str, key: str = "", kind: str = "runs_fail") -> list[Cause]:
    return [Cause(kind, key, client, NOON) for client in clients]


def play(looks: Iterable[tuple[timedelta, list[Cause]]]) -> list[tuple[timedelta, Event]]:
    """All that is told over a row of looks."""
    kept: tuple[Notice, ...] = ()
    told = []
    for after, causes in looks:
        done = step(causes, kept, NOON + after, RULES)
        kept = done.notices
        told += [(after, event) for event in done.events]
    return told


def whats(looks: Iterable[tuple[timedelta, list[Cause]]]) -> list[str]:
    return [event.what.value for _, event in play(looks)]


def every_minute(first: int, last: int, causes: list[Cause]) -> list[tuple[timedelta, list[Cause]]]:
    return [(minute * MINUTE, causes) for minute in range(first, last)]


def test_it_is_told_once_and_once_more_when_it_is_over() -> None:
    told = play([*every_minute(0, 20, failing("Acme")), *every_minute(20, 60, [])])
    assert [(after // MINUTE, event.what) for after, event in told] == [
        (1, What.OPENED),
        (22, What.RECOVERED),
    ]


def test_two_hundred_clients_with_one_cause_are_one_notice_that_counts_them() -> None:
    """They fail one after another, and recover one after another."""
    names = [f"Client {n:03}" for n in range(200)]
    looks = [(n * MINUTE / 10, failing(*names[: n + 1])) for n in range(200)]
    looks += [(20 * MINUTE + n * MINUTE / 10, failing(*names[n:])) for n in range(201)]
    looks += every_minute(41, 60, [])
    told = [event for _, event in play(looks)]
    assert [event.what for event in told] == [What.OPENED, What.RECOVERED]
    assert len(told[1].notice.affected) == 200
    at_once = [event for _, event in play(every_minute(0, 3, failing(*names)))]
    assert [len(event.notice.present) for event in at_once] == [200]


def test_different_causes_are_notices_of_their_own() -> None:
    both = failing("Acme", key="one reason") + failing("Beta", key="another")
    assert len(play(every_minute(0, 5, both))) == 2


def test_what_stands_for_a_moment_only_is_not_told() -> None:
    assert whats([(MINUTE * 0, failing("Acme")), *every_minute(1, 9, [])]) == []


def test_what_comes_and_goes_is_damped() -> None:
    on, off = failing("Acme"), list[Cause]()
    looks = [(n * MINUTE, on if n // 5 % 2 == 0 else off) for n in range(24 * 60)]
    # The third time it is known to come and go: five minutes without it are no end any more.
    assert whats(looks) == ["opened", "recovered", "opened", "recovered", "opened"]


def test_it_is_told_again_after_a_day() -> None:
    told = play(every_minute(0, 3 * 24 * 60, failing("Acme")))
    assert [event.what.value for _, event in told] == ["opened", "reminded", "reminded"]


def test_a_cause_explains_its_consequences_of_the_same_client() -> None:
    late = failing("Acme", "Beta", kind="no_success")
    dead = [Cause("token_refused", "", "Acme", NOON)]
    assert without_consequences(late + dead) == [late[1], *dead]


def test_a_dead_daemon_explains_that_nobody_had_a_success() -> None:
    late = failing("Acme", "Beta", kind="no_success")
    daemon = Cause("daemon_dead", "", "", NOON)
    assert without_consequences([*late, daemon]) == [daemon]


def test_what_could_not_be_looked_at_stays_as_it_is() -> None:
    opened = step(failing("Acme"), step(failing("Acme"), (), NOON, RULES).notices, NOON, RULES)
    later = NOON + timedelta(hours=1)
    assert step([], opened.notices, later, RULES, unseen={"runs_fail"}).notices == opened.notices


def test_every_kind_explains_kinds_that_there_are() -> None:
    for kind in KINDS.values():
        assert set(kind.explains) <= KINDS.keys() - {kind.name}


# Anything

CAUSES = st.lists(
    st.builds(
        Cause,
        st.sampled_from(["runs_fail", "quarantine", "token_refused", "daemon_dead", "no_success"]),
        st.sampled_from(["", "a"]),
        st.sampled_from(["Acme", "Beta", "Gamma"]),
        st.just(NOON),
    ),
    max_size=6,
)
GAPS = st.integers(1, 3600).map(lambda seconds: timedelta(seconds=seconds))
LOOKS = st.lists(st.tuples(GAPS, CAUSES), min_size=1, max_size=60)


def in_time(looks: list[tuple[timedelta, list[Cause]]]) -> list[tuple[timedelta, list[Cause]]]:
    after, out = timedelta(0), []
    for gap, causes in looks:
        after += gap
        out.append((after, causes))
    return out


@given(LOOKS)
def test_of_each_cause_a_beginning_and_an_end_take_turns(
    looks: list[tuple[timedelta, list[Cause]]],
) -> None:
    told = defaultdict(list)
    for _, event in play(in_time(looks)):
        told[event.notice.identity].append(event.what)
    for events in told.values():
        turns = [what for what in events if what is not What.REMINDED]
        assert turns[0] is What.OPENED
        assert all(a is not b for a, b in pairwise(turns))
        assert all(b is not What.REMINDED or a is not What.RECOVERED for a, b in pairwise(events))


@given(LOOKS)
def test_a_second_look_at_the_same_moment_tells_nothing_new(
    looks: list[tuple[timedelta, list[Cause]]],
) -> None:
    """Nor does a restart, which looks again with what was kept."""
    kept: tuple[Notice, ...] = ()
    for after, causes in in_time(looks):
        kept = step(causes, kept, NOON + after, RULES).notices
        again = step(causes, kept, NOON + after, RULES)
        assert again.events == ()
        assert set(again.notices) == set(kept)


@given(LOOKS)
def test_at_most_one_notice_of_a_cause_is_not_over(
    looks: list[tuple[timedelta, list[Cause]]],
) -> None:
    kept: tuple[Notice, ...] = ()
    for after, causes in in_time(looks):
        kept = step(causes, kept, NOON + after, RULES).notices
        going = [notice.identity for notice in kept if notice.state is not State.OVER]
        assert len(going) == len(set(going))
        for notice in kept:
            assert {cause.subject for cause in notice.present} <= set(notice.affected)
            assert (notice.told_at is None) == (notice.state is State.BREWING)


@given(LOOKS)
def test_what_stands_long_enough_is_told(looks: list[tuple[timedelta, list[Cause]]]) -> None:
    kept: tuple[Notice, ...] = ()
    after = timedelta(0)
    for after, causes in in_time(looks):
        kept = step(causes, kept, NOON + after, RULES).notices
    kept = step(causes, kept, NOON + after + RULES.settle, RULES).notices
    standing = {notice.identity for notice in kept if notice.state is State.OPEN}
    assert standing == {cause.identity for cause in without_consequences(causes)}


@given(st.lists(st.booleans(), min_size=1440, max_size=1440))
def test_however_it_comes_and_goes_nobody_is_told_more_than_this_in_a_day(
    there: list[bool],
) -> None:
    looks = [(n * MINUTE, failing("Acme") if on else []) for n, on in enumerate(there)]
    # The wait is 2, 4, 8, 16, 32, 64, 64 … minutes: 62 for the first five, then 64 each.
    assert len(play(looks)) <= 2 * (5 + (1440 - 62) // 64 + 1)


@given(LOOKS)
def test_a_notice_is_told_with_all_whom_it_is_about(
    looks: list[tuple[timedelta, list[Cause]]],
) -> None:
    for after, event in play(in_time(looks)):
        if event.what is What.RECOVERED:
            continue
        causes = next(causes for moment, causes in in_time(looks) if moment == after)
        about = {
            cause.subject
            for cause in without_consequences(causes)
            if cause.identity == event.notice.identity
        }
        assert {cause.subject for cause in event.notice.present} == about


def test_a_notice_that_is_over_and_comes_back_late_is_a_new_one() -> None:
    (over,) = step(
        [],
        [
            replace(
                Notice("runs_fail", "", NOON, State.FADING, NOON, (), ("Acme",), NOON, returns=3)
            )
        ],
        NOON + timedelta(hours=1),
        RULES,
    ).notices
    assert over.state is State.OVER
    soon = step(failing("Acme"), [over], NOON + timedelta(hours=2), RULES).notices
    assert [notice.returns for notice in soon] == [4]
    late = step(failing("Acme"), [over], NOON + timedelta(hours=4), RULES).notices
    assert [notice.returns for notice in late] == [0]
