"""A table's records in memory, with the indices that listing and filtering need."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from reconciler_dagster.sandbox.formulas.compiler import Evaluate, compile_formula
from reconciler_dagster.sandbox.formulas.syntax import parse
from reconciler_dagster.sandbox.model.schema import Field, View


@dataclass(slots=True, frozen=True)
class Record:
    """One state of a record; an edit makes a new one, so an old state can be kept.

    `cells` holds what the API shows, by field id, without empty cells. Times in milliseconds.
    `touched` holds the last edit of single fields.
    """

    id: str
    created: int
    modified: int
    created_by: str
    modified_by: str
    cells: dict[str, Any]
    touched: dict[str, int]


class TimeIndex:
    """Record ids in the order of a time."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, str]] = []

    def fill(self, entries: Iterable[tuple[int, str]]) -> None:
        """Replace all entries at once."""
        self._entries = sorted(entries)

    def add(self, time: int, record_id: str) -> None:
        """Note a record."""
        insort(self._entries, (time, record_id))

    def remove(self, time: int, record_id: str) -> None:
        """Forget a record."""
        del self._entries[bisect_left(self._entries, (time, record_id))]

    def between(self, low: float, high: float) -> list[str]:
        """Return the ids with `low <= time <= high`."""
        start = bisect_left(self._entries, low, key=itemgetter(0))
        end = bisect_right(self._entries, high, key=itemgetter(0))
        return [record_id for _, record_id in self._entries[start:end]]


@dataclass
class Table:
    """A table: schema, records and indices."""

    id: str
    name: str
    fields: dict[str, Field]
    views: list[View]
    primary: str
    description: str | None = None
    next_number: int = 1
    records: dict[str, Record] = field(default_factory=dict)
    trash: dict[str, Record] = field(default_factory=dict)
    # Computed cells that a test has nailed down, by record and field.
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Moved on by every change, so that a sorted listing knows when it must sort again.
    revision: int = 0
    ids: list[str] = field(default_factory=list)
    by_created: TimeIndex = field(default_factory=TimeIndex)
    by_modified: TimeIndex = field(default_factory=TimeIndex)
    _names: dict[str, Field] | None = None
    _lower_names: dict[str, Field] = field(default_factory=dict)
    _compiled: dict[str, Evaluate] = field(default_factory=dict)

    def fill(self, records: Iterable[Record]) -> None:
        """Replace all records at once."""
        self.records = {record.id: record for record in records}
        self.ids = sorted(self.records)
        self.by_created.fill((r.created, r.id) for r in self.records.values())
        self.by_modified.fill((r.modified, r.id) for r in self.records.values())
        self.revision += 1

    def put(self, record: Record) -> None:
        """Store a new state of a record, or a new record."""
        before = self.records.get(record.id)
        if before is None:
            insort(self.ids, record.id)
            self.by_created.add(record.created, record.id)
            self.by_modified.add(record.modified, record.id)
        elif before.modified != record.modified:
            self.by_modified.remove(before.modified, record.id)
            self.by_modified.add(record.modified, record.id)
        self.records[record.id] = record
        self.revision += 1

    def remove(self, record_id: str) -> Record:
        """Take a record out, into the trash."""
        record = self.records.pop(record_id)
        del self.ids[bisect_left(self.ids, record_id)]
        self.by_created.remove(record.created, record_id)
        self.by_modified.remove(record.modified, record_id)
        self.overrides.pop(record_id, None)
        self.trash[record_id] = record
        self.revision += 1
        return record

    def find(self, name_or_id: str) -> Field | None:
        """Return a field by id or name."""
        if name_or_id in self.fields:
            return self.fields[name_or_id]
        if self._names is None:
            self._names = {field.name: field for field in self.fields.values()}
            self._lower_names = {name.lower(): field for name, field in self._names.items()}
        return self._names.get(name_or_id)

    def resolve(self, name_or_id: str) -> str | None:
        """Return the id of a field that a formula names, without regard to case."""
        found = self.find(name_or_id) or self._lower_names.get(name_or_id.lower())
        return found.id if found else None

    def schema_changed(self) -> None:
        """Forget what was derived from the fields; call after every change to them."""
        self._names = None
        self._compiled.clear()
        self.revision += 1

    def formula(self, field: Field) -> Evaluate:
        """Return the compiled formula of a formula field. Raises InvalidFormula."""
        compiled = self._compiled.get(field.id)
        if compiled is None:
            compiled = compile_formula(parse(field.options.get("formula", "")), self.resolve)
            self._compiled[field.id] = compiled
        return compiled

    def view(self, name_or_id: str) -> View | None:
        """Return a view by id or name."""
        return next((v for v in self.views if name_or_id in (v.id, v.name)), None)
