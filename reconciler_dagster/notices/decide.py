"""From what is wrong now, and the notices that there are, to who is to be told what. Pure.

One notice stands for all clients with the same cause. It is told once when it begins, once when it
is over, and a day later in between. What comes and goes is not told each time: a notice is over
only when its cause has been away for a while, and for twice as long after each return.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from reconciler_dagster.notices.kinds import KINDS

Identity = tuple[str, str]
_MOST_DOUBLINGS = 5


@dataclass(frozen=True)
class Cause:
    """Something that is wrong now. ``kind``: of ``KINDS``; ``key``: what makes it the same cause
    for several; ``subject``: the client it is about, empty for the whole deployment; ``detail``:
    more words, if any; ``since``: when it began, as far as known.
    """

    kind: str
    key: str
    subject: str
    since: datetime
    detail: str = ""

    @property
    def identity(self) -> Identity:
        """Of its notice."""
        return self.kind, self.key


class State(StrEnum):
    """Brewing: seen, not told yet. Open: told. Fading: told, and the cause is away. Over."""

    BREWING = "brewing"
    OPEN = "open"
    FADING = "fading"
    OVER = "over"


class What(StrEnum):
    """What is told of a notice."""

    OPENED = "opened"
    REMINDED = "reminded"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Notice:
    """One cause, over all whom it is about, from its beginning to its end.

    ``changed_at``: when its state was reached; ``told_at``: when it was last told; ``affected``:
    all subjects it has had; ``present``: those of now, or the last ones; ``returns``: how often
    the cause has come back of late. ``id``: of the stored one.
    """

    kind: str
    key: str
    since: datetime
    state: State
    changed_at: datetime
    present: tuple[Cause, ...]
    affected: tuple[str, ...]
    told_at: datetime | None = None
    returns: int = 0
    id: int | None = None

    @property
    def identity(self) -> Identity:
        """Kind and key: one notice each is not over."""
        return self.kind, self.key


@dataclass(frozen=True)
class Event:
    """Something to tell."""

    what: What
    notice: Notice


@dataclass(frozen=True)
class Rules:
    """``settle``: how long a cause stands before it is told, so that twenty clients are counted in
    one notice; ``hold``: how long it is away before that is told; ``remind``: how long a notice
    stands before it is told again; ``memory``: within it a cause has come back.
    """

    settle: timedelta = timedelta(seconds=30)
    hold: timedelta = timedelta(minutes=2)
    remind: timedelta = timedelta(days=1)
    memory: timedelta = timedelta(hours=2)

    def settle_of(self, kind: str) -> timedelta:
        """Of a kind: nothing where its cause has lasted before it can be seen."""
        return timedelta(0) if KINDS[kind].at_once else self.settle

    def hold_of(self, returns: int) -> timedelta:
        """Twice as long after each return."""
        return self.hold * (1 << min(returns, _MOST_DOUBLINGS))


@dataclass(frozen=True)
class Step:
    """``notices``: as they are now, all that are to be kept; ``events``: what is to be told."""

    notices: tuple[Notice, ...]
    events: tuple[Event, ...]


def step(
    observed: Iterable[Cause],
    kept: Iterable[Notice],
    now: datetime,
    rules: Rules,
    unseen: Collection[str] = (),
) -> Step:
    """What becomes of the notices. ``unseen``: kinds that could not be looked at just now; their
    notices stay as they are.
    """
    causes: dict[Identity, list[Cause]] = defaultdict(list)
    for cause in without_consequences(observed):
        if cause.kind not in unseen:
            causes[cause.identity].append(cause)
    before = {notice.identity: notice for notice in _latest_last(kept)}
    notices: list[Notice] = []
    events: list[Event] = []
    for identity in {**before, **causes}:
        had, has = before.get(identity), _by_subject(causes.get(identity, ()))
        if identity[0] in unseen and had is not None:
            notices.append(had)
            continue
        after, what = _with_cause(had, has, now, rules) if has else _without(had, now, rules)
        if after is not None:
            notices.append(after)
            if what is not None:
                events.append(Event(what, after))
    return Step(tuple(notices), tuple(events))


def without_consequences(observed: Iterable[Cause]) -> list[Cause]:
    """The causes that no other one explains."""
    causes = list(observed)
    explained = {
        (name, None if KINDS[cause.kind].of_all else cause.subject)
        for cause in causes
        for name in KINDS[cause.kind].explains
    }
    return [
        cause
        for cause in causes
        if (cause.kind, None) not in explained and (cause.kind, cause.subject) not in explained
    ]


def _latest_last(kept: Iterable[Notice]) -> list[Notice]:
    """Of an identity, one that is not over counts before one that is."""
    return sorted(kept, key=lambda notice: (notice.state is not State.OVER, notice.changed_at))


def _by_subject(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """One a subject, the longest standing one, by name."""
    found: dict[str, Cause] = {}
    for cause in sorted(causes, key=lambda each: each.since):
        found.setdefault(cause.subject, cause)
    return tuple(found[name] for name in sorted(found))


def _with_cause(
    had: Notice | None, has: tuple[Cause, ...], now: datetime, rules: Rules
) -> tuple[Notice, What | None]:
    if had is None or had.state is State.OVER:
        returns = had.returns + 1 if had and now - had.changed_at < rules.memory else 0
        since = min(cause.since for cause in has)
        had = Notice(*has[0].identity, since, State.BREWING, now, (), (), returns=returns)
    names = {cause.subject for cause in has}.union(had.affected)
    notice = replace(had, present=has, affected=tuple(sorted(names)))
    if notice.state is State.BREWING:
        if now - notice.changed_at < rules.settle_of(notice.kind):
            return notice, None
        return replace(notice, state=State.OPEN, changed_at=now, told_at=now), What.OPENED
    if notice.state is State.FADING:
        notice = replace(notice, state=State.OPEN, changed_at=now, returns=notice.returns + 1)
    assert notice.told_at is not None
    if now - notice.told_at >= rules.remind:
        return replace(notice, told_at=now), What.REMINDED
    return notice, None


def _without(had: Notice | None, now: datetime, rules: Rules) -> tuple[Notice | None, What | None]:
    if had is None or had.state is State.BREWING:
        return None, None
    if had.state is State.OPEN:
        had = replace(had, state=State.FADING, changed_at=now)
    if had.state is State.FADING and now - had.changed_at >= rules.hold_of(had.returns):
        return replace(had, state=State.OVER, changed_at=now, told_at=now), What.RECOVERED
    if had.state is State.OVER and now - had.changed_at >= rules.memory:
        return None, None
    return had, None
