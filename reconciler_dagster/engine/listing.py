"""Listing a whole creation window: in pieces side by side, page by page, into staging.

It takes no lock, so a delta gets in between at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from threading import Event

from reconciler_dagster import tracing
from reconciler_dagster.core import staging_key
from reconciler_dagster.core.cuts import pieces_of_base_sample, pieces_of_known, pieces_of_sample
from reconciler_dagster.core.parts import PART
from reconciler_dagster.core.place import Place
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import PAGE, NotAsRemembered, Record, Source
from reconciler_dagster.engine.pull import looks_off, stage
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import baseline, staging, windows

# Chains of pages at a time in one window. Two would do where every answer takes 350 ms; answers are
# uneven, and a chain that waits for its turn costs nothing.
CHAINS = 4


@dataclass(frozen=True)
class Part:
    """So many records staged under ``key``. ``advance``: see postgres.baseline.advanced_since."""

    key: str
    advance: int
    records: int = 0


@dataclass(frozen=True)
class Window:
    """A listing of a window, as it is staged. Times are ISO text. ``moment``: on Airtable's clock,
    certainly not after the first answer; ``noted_at``: the same on ours.

    ``absent``: known records of the window that were not listed.
    """

    start: str | None
    end: str | None
    moment: str
    noted_at: str
    listed: int
    calls: int
    parts: list[Part]
    absent: list[str]
    field_ids: dict[str, list[str]]
    base_id: str | None
    table_id: str

    @property
    def place(self) -> Place:
        """Where it was listed; it says nothing of any other place."""
        return Place(self.base_id, self.table_id)

    @property
    def scope(self) -> Scope:
        """The window."""
        start, end = (datetime.fromisoformat(t) if t else None for t in (self.start, self.end))
        return Scope("created", start, end)

    @staticmethod
    def from_json(data: dict[str, object]) -> Window:
        """As staged."""
        parts = [Part(**part) for part in data["parts"]]  # type: ignore[attr-defined]
        return Window(**{**data, "parts": parts})  # type: ignore[arg-type]


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Course:
    """How a window is listed.

    ``sample``: creation times of a page that is like the whole base, where there is one: it cuts a
    window of which nothing is known, which else costs each chain a page that is listed twice; into
    ``chains`` or more. ``rank``: who waits for the call budget goes before a higher one.
    ``ended``: once set, CancelledError is raised after the pages that are under way.
    """

    sample: Sequence[datetime] = ()
    chains: int = 1
    rank: int = 0
    ended: Event = field(default_factory=Event)


def list_window(
    session: Session,
    scope: Scope,
    key: str,
    progress: Progress | None = None,
    course: Course | None = None,
) -> Window:
    """Stage every record of a window.

    ``key``: what the parts are staged under. ``progress`` is told records and calls so far.
    A field that looks off is checked against Airtable's metadata, and the window listed again.
    """
    listing = partial(_Listing, session, scope, key, progress, course or Course())
    try:
        window = listing().run()
    except NotAsRemembered:
        session.check_mapping(force=True, anew=True)
        return listing().run()
    bound = session.bound
    if any(looks_off(session, part.key, bound) for part in window.parts):
        return listing().run()
    return window


@dataclass
class _Chain:
    """What one chain of pages found. ``pieces``: set where it has given way to several chains, of
    which each lists a piece of its window.
    """

    moment: datetime
    noted_at: datetime
    calls: int = 0
    listed: set[str] = field(default_factory=set)
    parts: list[Part] = field(default_factory=list)
    pieces: list[Scope] = field(default_factory=list)


def sample_base(session: Session) -> list[datetime]:
    """Creation times of the first page of the whole base, in the order of the page."""
    with session.borrowed_base() as base:
        pages = base.created_between(session.table_id, session.bound.field_ids[:1])
        page = next(pages, [])
        return [record.created_time for record in page]


class _Listing:
    """One listing of one window."""

    def __init__(
        self,
        session: Session,
        scope: Scope,
        key: str,
        progress: Progress | None,
        course: Course,
    ) -> None:
        self._session, self._scope, self._key, self._progress = session, scope, key, progress
        self._course = course
        self._field_ids = session.bound.ids_by_column
        session.users  # noqa: B018 - read once, before there are threads
        self._running: set[Future[_Chain]] = set()
        self._failed = False
        self._chains: list[_Chain] = []

    def run(self) -> Window:
        """List it all."""
        with self._session.engine.connect() as connection:
            known = windows.creation_times(connection, self._session.pair, self._scope)
        sample = self._course.sample
        if known or not sample:
            pieces = pieces_of_known(known, self._scope, CHAINS)
        else:
            pieces = pieces_of_base_sample(sample, self._scope, self._course.chains, CHAINS)
        with ThreadPoolExecutor(CHAINS, thread_name_prefix="list") as pool:
            self._submit(pool, pieces, sampling=not known and not sample)
            try:
                while self._running:
                    for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                        self._running.discard(future)
                        chain = future.result()
                        self._chains.append(chain)
                        self._submit(pool, chain.pieces, sampling=True)
                        self._tell()
            except BaseException:  # the other chains are of no use
                self._failed = True
                pool.shutdown(cancel_futures=True)
                raise
        return self._window()

    def _submit(self, pool: ThreadPoolExecutor, pieces: list[Scope], *, sampling: bool) -> None:
        for piece in pieces:
            key = staging_key.beneath(self._key, len(self._chains) + len(self._running))
            self._running.add(pool.submit(tracing.carried(self._list), piece, key, sampling))

    def _tell(self) -> None:
        if self._progress:
            listed = set().union(*(chain.listed for chain in self._chains))
            self._progress(len(listed), sum(chain.calls for chain in self._chains))

    def _list(self, piece: Scope, key: str, sampling: bool) -> _Chain:
        """One chain, in a thread of its own. ``sampling``: nothing is known of the piece."""
        session = self._session
        with session.borrowed_base(self._course.rank) as base:
            calls_before = base.clock.calls
            base.clock.reset()
            chain = _Chain(datetime.now(UTC), datetime.now(UTC))
            in_part, staged = PART, set[str]()
            for page, advance in self._pages(base, piece):
                if in_part >= PART:
                    part = new_part(session, staging_key.beneath(key, len(chain.parts)), advance)
                    chain.parts.append(part)
                    in_part, staged = 0, set()
                in_scope = [r for r in page if self._scope.holds(r.created_time)]
                staged |= stage(session, in_scope, chain.parts[-1].key)
                chain.parts[-1] = replace(chain.parts[-1], records=len(staged))
                chain.listed |= staged
                in_part += len(page)
                if sampling and len(page) == PAGE and len(self._running) < CHAINS:
                    created = [record.created_time for record in page]
                    pieces = pieces_of_sample(created, piece, CHAINS, datetime.now(UTC))
                    if len(pieces) > 1:  # they list this page's records once more
                        self._give_up(chain)
                        chain.pieces = pieces
                        break
                sampling = False
            chain.moment = base.clock.earliest or chain.moment
            chain.noted_at = base.clock.noted_at
            chain.calls = base.clock.calls - calls_before
        return chain

    def _give_up(self, chain: _Chain) -> None:
        with self._session.engine.begin() as connection:
            for part in chain.parts:
                staging.clear(connection, part.key)
        chain.parts.clear()
        chain.listed.clear()

    def _pages(self, base: Source, piece: Scope) -> Iterator[tuple[list[Record], int]]:
        """The pages, each with where the count of advances stood before it was asked for."""
        advance = self._advance()
        table_id, field_ids = self._session.table_id, self._session.bound.field_ids
        for page in base.created_between(table_id, field_ids, piece.start, piece.end):
            yield page, advance
            if self._failed:
                return
            if self._course.ended.is_set():
                raise CancelledError
            advance = self._advance()

    def _advance(self) -> int:
        with self._session.engine.begin() as connection:
            return baseline.next_advance(connection)

    def _window(self) -> Window:
        first = min(self._chains, key=lambda chain: chain.moment)
        listed = set().union(*(chain.listed for chain in self._chains))
        with self._session.engine.connect() as connection:
            known = windows.leads_of(connection, self._session.pair, self._scope)
        if self._session.dry_run and self._session.moved:
            known = set()  # what is remembered is about another place, and will be forgotten
        return Window(
            start=self._scope.start.isoformat() if self._scope.start else None,
            end=self._scope.end.isoformat() if self._scope.end else None,
            moment=first.moment.isoformat(),
            noted_at=first.noted_at.isoformat(),
            listed=len(listed),
            calls=sum(chain.calls for chain in self._chains),
            parts=[part for chain in self._chains for part in chain.parts],
            absent=sorted(known - listed),
            field_ids=self._field_ids,
            base_id=self._session.place.base_id,
            table_id=self._session.place.table_id,
        )


def new_part(session: Session, key: str, advance: int) -> Part:
    """Make room for a part. ``advance``: where the count stood before its first record was asked
    for.
    """
    with session.engine.begin() as connection:
        staging.clear(connection, key)
        staging.stage_pull(connection, key, session.client.id, {"part": key})
    return Part(key, advance)
