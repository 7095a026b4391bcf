"""Which records a listing shows, and in which order, found through the table's indices."""

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from reconciler_dagster.sandbox import errors
from reconciler_dagster.sandbox.api.query import Query
from reconciler_dagster.sandbox.clock import SECOND
from reconciler_dagster.sandbox.formulas.compiler import Evaluate, compile_formula, evaluate_filter
from reconciler_dagster.sandbox.formulas.narrowing import EVERYTHING, narrow
from reconciler_dagster.sandbox.formulas.syntax import Binary, Call, InvalidFormula, Node, parse
from reconciler_dagster.sandbox.formulas.values import FormulaError, blank, text
from reconciler_dagster.sandbox.model.base import Base
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.world import World

Key = tuple[tuple[int, Any], ...]
"""What a record is sorted by: for each field a rank of its kind and the value."""


class Selection:
    """The filter and the order of one listing. Raises a Refusal for a formula that is none."""

    def __init__(self, world: World, base: Base, table: Table, query: Query) -> None:
        self._random = world.switches.record_order == "random"
        self._is_after_returns_all = world.switches.is_after_returns_all
        self._table = table
        self._reader = world.reader(base)
        self._order = query.sort or _view_order(table, query)
        lag = int(world.switches.list_lag_seconds * SECOND)
        self._earlier = base.earlier(world.clock.now(), lag, table)
        self._filters: list[Evaluate] = []
        self._bounds = EVERYTHING
        for formula in (query.view.formula if query.view else None, query.formula):
            if formula is not None:
                self._add_filter(formula)

    @property
    def sorted(self) -> bool:
        """Whether the order is another than that of the record ids."""
        return bool(self._order)

    @property
    def revision(self) -> int:
        """The table's revision, or -2 where late visibility makes it useless."""
        return -2 if self._earlier else self._table.revision

    def after(self, last: str | None) -> Iterator[Record]:
        """Yield the records whose id comes after `last`, by id, evaluated as they are asked."""
        ids = self._candidates()
        start = bisect_right(ids, last) if last else 0
        return self._kept(islice(ids, start, None) if start else ids)

    def all(self) -> list[Record]:
        """Return all records in their order."""
        records = list(self.after(None))
        if self._order:
            keyed = [(self.key(record), record) for record in records]
            # Stable sorts by one field after the other, the first field last.
            for place in reversed(range(len(self._order))):
                _, downwards = self._order[place]
                keyed.sort(key=lambda pair: pair[0][place], reverse=downwards)
            return [record for _, record in keyed]
        if self._random:
            random.shuffle(records)
        return records

    def key(self, record: Record) -> Key:
        """Return what the record is sorted by."""
        return tuple(self._sort_key(record, field) for field, _ in self._order)

    def place(self, records: list[Record], index: int, last: str | None, key: Key) -> int:
        """Return where a sorted listing goes on after the record `last`, once at `index`."""
        if last is None:
            return 0
        if index <= len(records) and records[index - 1].id == last:
            return index
        for place, record in enumerate(records):
            order = self._compare(self.key(record), key)
            if order > 0 or (order == 0 and record.id > last):
                return place
        return len(records)

    def _add_filter(self, formula: str) -> None:
        try:
            node = parse(formula)
            if self._is_after_returns_all:
                node = _always_after(node)
            self._filters.append(compile_formula(node, self._table.resolve))
        except InvalidFormula as error:
            raise errors.invalid_formula(str(error)) from None
        self._bounds = self._bounds.both(narrow(node, self._reader.now))

    def _candidates(self) -> list[str]:
        """Return the ids that can pass, sorted."""
        table, bounds = self._table, self._bounds
        ids: Iterable[str]
        if bounds.ids is not None:
            ids = [record_id for record_id in bounds.ids if record_id in table.records]
        elif bounds.modified != EVERYTHING.modified:
            ids = table.by_modified.between(*bounds.modified)
            if bounds.created != EVERYTHING.created:
                created = table.by_created.between(*bounds.created)
                ids = ids if len(ids) < len(created) else created
        elif bounds.created != EVERYTHING.created:
            ids = table.by_created.between(*bounds.created)
        elif not self._earlier:
            return table.ids
        else:
            ids = table.ids
        return sorted({*ids, *self._earlier})

    def _kept(self, ids: Iterable[str]) -> Iterator[Record]:
        table, filters, row = self._table, self._filters, self._reader.row
        records, earlier = table.records, self._earlier
        for record_id in ids:
            record = earlier[record_id] if record_id in earlier else records.get(record_id)
            if record is not None and all(
                evaluate_filter(evaluate, row(table, record)) for evaluate in filters
            ):
                yield record

    def _sort_key(self, record: Record, field: Field) -> tuple[int, Any]:
        """Return one part of the key: blanks and errors first, then numbers, dates, texts."""
        try:
            value = self._reader.operand(self._table, record, field)
        except FormulaError:
            return (0, 0)
        if blank(value) or value != value:
            return (0, 0)
        if isinstance(value, (bool, int, float)):
            return (1, float(value))
        return (2, value) if isinstance(value, datetime) else (3, text(value).lower())

    def _compare(self, one: Key, other: Key) -> int:
        for left, right, (_, downwards) in zip(one, other, self._order, strict=True):
            if left != right:
                return 1 if (left > right) != downwards else -1
        return 0


def _always_after(node: Node) -> Node:
    """Make IS_AFTER(LAST_MODIFIED_TIME(), ...) true everywhere (the switch of that name)."""
    match node:
        case Call("IS_AFTER", (Call("LAST_MODIFIED_TIME", _), _)):
            return Call("TRUE", (), 1)
        case Call(name, arguments, depth):
            return Call(name, tuple(_always_after(argument) for argument in arguments), depth)
        case Binary(operator, left, right, depth):
            return Binary(operator, _always_after(left), _always_after(right), depth)
    return node


def _view_order(table: Table, query: Query) -> list[tuple[Field, bool]]:
    if query.view is None:
        return []
    return [
        (table.fields[item["field"]], item.get("direction") == "desc")
        for item in query.view.sort
        if item["field"] in table.fields
    ]
