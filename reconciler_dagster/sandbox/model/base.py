"""A base: its tables, its history and its people."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.sandbox.model.table import Record, Table

HISTORY_KEPT = 5_000
"""Commits that a base remembers for "who changed what"."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of Airtable."""

    id: str
    email: str
    name: str

    def cell(self) -> dict[str, str]:
        """Return the person as a cell shows them."""
        return {"id": self.id, "email": self.email, "name": self.name}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, and through what: `publicApi`, `client` (a person), ..."""

    source: str
    person: Person


@dataclass(frozen=True, slots=True)
class Change:
    """One record before and after a commit; None where it did not or does not exist."""

    table_id: str
    record_id: str
    before: Record | None
    after: Record | None
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one act changed, at one moment."""

    number: int
    time: int
    actor: Actor
    changes: tuple[Change, ...]


@dataclass
class Base:
    """A base in memory."""

    id: str
    name: str
    tables: dict[str, Table] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    transaction: int = 0
    history: deque[Commit] = field(default_factory=lambda: deque(maxlen=HISTORY_KEPT))
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # Called after every commit: the state file, the webhooks.
    listeners: list[Callable[["Base", Commit], None]] = field(default_factory=list)

    def table(self, name_or_id: str) -> Table | None:
        """Return a table by id or name."""
        if name_or_id in self.tables:
            return self.tables[name_or_id]
        return next((t for t in self.tables.values() if t.name == name_or_id), None)

    def person(self, person_id: str) -> Person:
        """Return a person by id, or a stand-in for one who is not known."""
        return self.people.get(person_id) or Person(
            person_id, f"{person_id}@example.com", "Unknown"
        )

    def count_records(self) -> int:
        """Return how many records the base holds."""
        return sum(len(table.records) for table in self.tables.values())

    def announce(self, commit: Commit) -> None:
        """Note a commit and tell the listeners."""
        self.history.append(commit)
        for listener in self.listeners:
            listener(self, commit)

    def earlier(self, table: Table, now: int, lag: int) -> dict[str, Record | None]:
        """Return the records of a table that changed within `lag`, as they were before."""
        states: dict[str, Record | None] = {}
        for commit in reversed(self.history) if lag else ():
            if commit.time <= now - lag:
                break
            for change in commit.changes:
                if change.table_id == table.id:
                    states[change.record_id] = change.before
        return states
