"""Listing records page by page (Airtable facts §3)."""

from dataclasses import dataclass, field
from itertools import islice

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.query import Query
from reconciler_dagster.sandbox.api.selection import Key, Selection
from reconciler_dagster.sandbox.clock import SECOND
from reconciler_dagster.sandbox.ids import is_id, new_id
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.world import World

ITERATORS_KEPT = 1_000


@dataclass(slots=True)
class _Mark:
    """Where a page ended; the offset that the client got leads back here."""

    given: int = 0
    page: int = 0
    last: str | None = None
    key: Key = ()


@dataclass(slots=True)
class _Iterator:
    """A listing under way."""

    id: str
    table_id: str
    expires: int = 0
    marks: dict[str, _Mark] = field(default_factory=dict)
    frozen: list[Record] | None = None
    """Set where pages show the data of the first page."""
    sorted_at: int = -1
    sorted: list[Record] = field(default_factory=list)
    """A sorted listing is sorted again only after a change."""


class Listings:
    """All listings of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._iterators: dict[str, _Iterator] = {}

    def page(self, base: Base, table: Table, query: Query) -> tuple[list[Record], str | None]:
        """Return one page and the offset of the next one, if any. Raises a Refusal."""
        selection = Selection(self._world, base, table, query)
        iterator, mark = self._position(table, query.offset)
        wanted = min(query.page_size, self._world.switches.largest_page)
        if query.max_records is not None:
            wanted = max(min(wanted, query.max_records - mark.given), 0)
        found = self._following(selection, iterator, mark, wanted + 1)
        page = found[:wanted]
        given = mark.given + len(page)
        if len(found) <= wanted or given == query.max_records:
            return page, None
        last = page[-1]
        iterator.marks[last.id] = _Mark(given, mark.page + 1, last.id, selection.key(last))
        iterator.expires = self._world.clock.now() + int(
            self._world.switches.iterator_seconds * SECOND
        )
        self._iterators[iterator.id] = iterator
        if len(self._iterators) > ITERATORS_KEPT:
            del self._iterators[next(iter(self._iterators))]
        return page, f"{iterator.id}/{last.id}"

    def kill(self, offset: str | None = None) -> None:
        """Forget the iterator of an offset, or all of them: their next page is refused."""
        if offset is None:
            self._iterators.clear()
        else:
            self._iterators.pop(offset.partition("/")[0], None)

    def page_number(self, offset: str) -> int | None:
        """Return which page an offset leads to, counted from 1."""
        name, _, last = offset.partition("/")
        iterator = self._iterators.get(name)
        mark = iterator.marks.get(last) if iterator else None
        return mark.page + 1 if mark else None

    def _position(self, table: Table, offset: str | None) -> tuple[_Iterator, _Mark]:
        if offset is None:
            return _Iterator(new_id("itr"), table.id), _Mark()
        name, _, last = offset.partition("/")
        if not is_id(name, "itr") or not is_id(last, "rec"):
            raise errors.refusal(
                422, "INVALID_OFFSET_VALUE", f"The value of offset {offset} is invalid"
            )
        iterator = self._iterators.get(name)
        mark = iterator.marks.get(last) if iterator else None
        if (
            iterator is None
            or mark is None
            or iterator.table_id != table.id
            or iterator.expires < self._world.clock.now()
        ):
            raise errors.refusal(422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE")
        return iterator, mark

    def _following(
        self, selection: Selection, iterator: _Iterator, mark: _Mark, count: int
    ) -> list[Record]:
        """Return up to `count` records after the mark."""
        switches = self._world.switches
        if iterator.frozen is not None:
            return iterator.frozen[mark.given : mark.given + count]
        if switches.record_order == "random" or switches.paging == "frozen":
            iterator.frozen = selection.all()
            return iterator.frozen[mark.given : mark.given + count]
        if not selection.sorted:
            return list(islice(selection.after(mark.last), count))
        if iterator.sorted_at != selection.revision:
            iterator.sorted = selection.all()
            iterator.sorted_at = selection.revision
        start = selection.place(iterator.sorted, mark.given, mark.last, mark.key)
        return iterator.sorted[start : start + count]
