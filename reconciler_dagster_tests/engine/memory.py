"""Another source than Airtable: a table in this process. It knows no call budget and no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from reconciler_dagster.core.source import (
    PAGE,
    Clock,
    NotAsRemembered,
    Record,
    Refused,
    Source,
    SourceError,
    TableSchema,
)
from reconciler_dagster.engine.doors import Doors


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Memory:
    """What people and the engine write to. ``asked``: every verb that was called.

    ``faults``: what the next calls of a verb answer instead; of `written`, what comes instead of
    the answer to a write that was carried out. ``refused``: texts that no field takes.
    """

    table: TableSchema
    records: dict[str, Record]
    asked: list[str] = field(default_factory=list)
    faults: dict[str, list[SourceError]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    lock: RLock = field(default_factory=RLock)
    _modified: dict[str, datetime] = field(default_factory=dict)

    def modified(self, record: Record) -> datetime:
        """When it was written last."""
        return self._modified.get(record.id, record.created_time)

    def edit(self, record_id: str, cells: Mapping[str, Any]) -> Record:
        """Write cells, by field id; None empties one."""
        with self.lock:
            before = self.records[record_id]
            merged = {**before.cells, **cells}
            filled = {key: value for key, value in merged.items() if value not in (None, "")}
            self.records[record_id] = Record(record_id, before.created_time, filled)
            self._modified[record_id] = _now()
            return self.records[record_id]

    def answer(self, verb: str) -> None:
        """Raise the next of its faults."""
        if waiting := self.faults.get(verb):
            raise waiting.pop(0)

    def field_id(self, name: str) -> str:
        """Of a field by its name."""
        return next(one.id for one in self.table.fields if one.name == name)


class InMemory:
    """A `Source` over a `Memory`."""

    def __init__(self, memory: Memory, may_write: Callable[[], None]) -> None:
        self._memory, self._may_write = memory, may_write
        self.clock, self.rank = Clock(datetime.now(UTC)), 0

    def schema(self, table: str, table_id: str | None = None) -> TableSchema:
        self._call("schema")
        return self._memory.table

    def changed_since(
        self,
        table_id: str,
        field_ids: Iterable[str],
        moment: datetime,
        seen: Iterable[str] = (),
        seen_before: datetime | None = None,
    ) -> Iterator[list[Record]]:
        left_out, modified = set(seen), self._memory.modified
        return self._pages(
            "changed_since",
            table_id,
            field_ids,
            lambda r: (
                modified(r) >= moment.replace(microsecond=0)
                and (seen_before is None or r.id not in left_out or modified(r) >= seen_before)
            ),
        )

    def created_between(
        self,
        table_id: str,
        field_ids: Iterable[str],
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[list[Record]]:
        return self._pages(
            "created_between",
            table_id,
            field_ids,
            lambda r: (
                (start is None or r.created_time >= start) and (end is None or r.created_time < end)
            ),
        )

    def read(self, table_id: str, ids: Iterable[str], field_ids: list[str]) -> list[Record]:
        wanted = set(ids)
        if not wanted:
            return []
        pages = self._pages("read", table_id, field_ids, lambda r: r.id in wanted)
        return [record for page in pages for record in page]

    def write(self, table_id: str, changes: Mapping[str, Mapping[str, Any]]) -> list[Record]:
        self._may_write()
        self._call("write")
        with self._memory.lock:
            if any(v in self._memory.refused for row in changes.values() for v in row.values()):
                raise Refused("The memory takes no such text", "no such text")
            written = [self._memory.edit(key, cells) for key, cells in changes.items()]
            self._memory.answer("written")
            return written

    def _pages(
        self,
        verb: str,
        table_id: str,
        field_ids: Iterable[str],
        wanted: Callable[[Record], bool],
    ) -> Iterator[list[Record]]:
        if table_id != self._memory.table.id:
            raise NotAsRemembered(f"The memory has no table {table_id}")
        asked_for = set(field_ids)
        with self._memory.lock:
            found = [record for record in self._memory.records.values() if wanted(record)]
        for start in range(0, max(1, len(found)), PAGE):
            self._call(verb)
            yield [
                Record(r.id, r.created_time, {f: v for f, v in r.cells.items() if f in asked_for})
                for r in found[start : start + PAGE]
            ]

    def _call(self, verb: str) -> None:
        with self._memory.lock:
            self.clock.calls += 1
            self._memory.asked.append(verb)
            self._memory.answer(verb)
            self.clock.note(_now(), datetime.now(UTC))


def doors_to(memory: Memory) -> type[Doors]:
    """What opens a memory where it would open a client's base."""

    class Elsewhere(Doors):
        def open(self) -> Source:
            opened = InMemory(memory, self.may_write)
            self._opened.append(opened)
            return opened

    return Elsewhere
