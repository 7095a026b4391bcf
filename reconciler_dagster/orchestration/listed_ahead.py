"""Windows that are listed while the runs of earlier ones write. Needs no Dagster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from threading import Event

from reconciler_dagster.core import staging_key
from reconciler_dagster.core.cuts import chains_wanted
from reconciler_dagster.core.source import NotLetIn
from reconciler_dagster.core.windows import contiguous
from reconciler_dagster.engine.listing import Course
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.listing import (
    LISTED_LEADS,
    Listed,
    ahead_key_of,
    list_months,
    stage_listed,
)

# Windows that may be listed and wait for their run, besides those that are being listed; their rows
# lie in Postgres.
WAITING = 1


@dataclass(frozen=True)
class Ready:
    """What one run is to take: so many windows of neighbouring months. ``listed_as``: what they
    were listed under, see ``listing.ahead_key_of``; None where that failed: the run tries itself,
    and records why it cannot.
    """

    months: list[str]
    windows: int
    listed_as: str | None


class Windows:
    """The windows of a client's groups of months, of which the first ones are being listed.

    ``samples``: by sync, see ``engine.listing.Course``; ``ended`` likewise. ``pool``: where they
    are listed, ``at_a_time`` together.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        groups: Sequence[list[str]],
        samples: Mapping[str, Sequence[datetime]],
        at_a_time: int,
        pool: ThreadPoolExecutor,
        ended: Event,
    ) -> None:
        self._sessions, self._groups, self._samples = sessions, groups, samples
        self._pool, self._ended = pool, ended
        for session in sessions:
            session.users  # noqa: B018 - read once, before there are threads
        self._waiting: dict[int, list[Future[Listed]]] = {}
        self._left = iter(range(len(groups)))
        self._begin(at_a_time + WAITING)

    def as_they_end(self) -> Iterator[Ready]:
        """What is ready when the last run has ended, neighbours together; else the next one. The
        ones that follow are being listed meanwhile. Raises NotLetIn: every run would be told so, at
        a call.
        """
        for taken in count():
            while self._waiting and not self._done():
                parts = [part for each in self._waiting.values() for part in each]
                wait([part for part in parts if not part.done()], return_when=FIRST_COMPLETED)
            if not self._waiting:
                return
            yield self._take(self._done(), taken)

    def _done(self) -> list[int]:
        return [n for n, each in self._waiting.items() if all(part.done() for part in each)]

    def _take(self, done: list[int], taken: int) -> Ready:
        first, *others = done
        failed = self._errors(first)
        numbers = [first]
        for number in () if failed else others:
            if self._errors(number) or not self._go_together([*numbers, number]):
                break
            numbers.append(number)
        parts = [self._waiting.pop(number) for number in numbers]
        self._begin(len(numbers))
        for error in failed:
            if isinstance(error, NotLetIn):
                raise error
        months = self._months(numbers)
        if failed:
            return Ready(months, 1, None)
        listed_as = staging_key.beneath(self._sessions[0].run_id, f"run {taken}")
        for session, listed in zip(self._sessions, zip(*parts, strict=True), strict=True):
            key = ahead_key_of(session, listed_as)
            stage_listed(session, [part.result() for part in listed], key)
        return Ready(months, len(numbers), listed_as)

    def _go_together(self, numbers: list[int]) -> bool:
        """Whether a run takes them as one: each costs it something, however few leads it has."""
        parts = [part for number in numbers for part in self._waiting[number]]
        leads = sum(part.result().window.listed for part in parts)
        return leads <= LISTED_LEADS and len(contiguous(self._months(numbers))) == 1

    def _months(self, numbers: list[int]) -> list[str]:
        return [month for number in numbers for month in self._groups[number]]

    def _errors(self, number: int) -> list[BaseException]:
        return [error for part in self._waiting[number] if (error := part.exception())]

    def _begin(self, windows: int) -> None:
        for number in islice(self._left, windows):
            self._waiting[number] = [
                self._pool.submit(self._list, session, number) for session in self._sessions
            ]

    def _list(self, session: Session, number: int) -> Listed:
        as_ = staging_key.beneath(self._sessions[0].run_id, number)
        course = Course(
            sample=self._samples.get(session.map.name, ()),
            chains=chains_wanted(len(self._groups) - number),
            # So that no two end together, and the last run has less to do.
            rank=1 + number,
            ended=self._ended,
        )
        key = ahead_key_of(session, as_)
        return list_months(session, self._groups[number], key, course=course)
