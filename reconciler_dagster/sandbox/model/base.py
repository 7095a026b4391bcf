"""A base: its tables, its history and its people."""

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.sandbox.clock import iso
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.webhooks.webhook import Webhook

RECENT_KEPT = 1_000
"""Commits kept whole, for late visibility and undo."""

JOURNAL_KEPT = 5_000
"""Entries of "who changed what" kept in memory."""


HOME = "wspSandboxHome001"
"""The workspace of every base that is made without naming another."""


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
class SchemaChange:
    """One change of a table or a field, as the metadata API would show it."""

    table_id: str
    field_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one act changed, at one moment."""

    number: int
    time: int
    actor: Actor
    changes: tuple[Change, ...] = ()
    schema: tuple[SchemaChange, ...] = ()
    rewritten: tuple[str, ...] = ()
    """Tables in which cells changed without counting as modified."""


States = dict[str, Record | None]
"""Records by id as they were at another moment; None: not there."""

Listener = Callable[["Base", Commit], None]


@dataclass
class Base:
    """A base in memory."""

    id: str
    name: str
    workspace: str = HOME
    created: int = 0
    tables: dict[str, Table] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    transaction: int = 0
    recent: deque[Commit] = field(default_factory=lambda: deque(maxlen=RECENT_KEPT))
    journal: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=JOURNAL_KEPT))
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    """Told of every commit: the webhooks, the state file."""

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

    def copied(self, base_id: str) -> "Base":
        """Return a copy under another id, as a restored snapshot is one: tables, fields and records
        keep their ids; history, comments and webhooks stay behind.
        """
        return Base(base_id, self.name, tables=deepcopy(self.tables), people=dict(self.people))

    def count_records(self) -> int:
        """Return how many records the base holds."""
        return sum(len(table.records) for table in self.tables.values())

    def announce(self, time: int, actor: Actor, **parts: Any) -> Commit:
        """Number a commit, note it and tell the listeners. `parts`: as in `Commit`."""
        self.transaction += 1
        commit = Commit(self.transaction, time, actor, **parts)
        self.recent.append(commit)
        self.journal.append(journal_entry(self, commit))
        for listener in self.listeners:
            listener(self, commit)
        return commit

    def earlier(self, now: int, lag: int, table: Table | None = None) -> States:
        """Return the records that changed within `lag` milliseconds, as they were before."""
        states: States = {}
        for commit in reversed(self.recent) if lag else ():
            if commit.time <= now - lag:
                break
            for change in commit.changes:
                if table is None or change.table_id == table.id:
                    states[change.record_id] = change.before
        return states


def journal_entry(base: Base, commit: Commit) -> dict[str, Any]:
    """Write down who changed what, in a form that outlives the records."""
    changes: list[dict[str, Any]] = []
    for change in commit.changes:
        table = base.tables[change.table_id]
        before = change.before.cells if change.before else {}
        after = change.after.cells if change.after else {}
        kind = "edited" if change.before and change.after else "deleted"
        changes.append(
            {
                "table": table.name,
                "record": change.record_id,
                "kind": kind if change.before else "created",
                "name": (after or before).get(table.primary),
                "cells": [
                    {
                        "field": table.fields[key].name,
                        "before": before.get(key),
                        "after": after.get(key),
                    }
                    for key in change.fields
                    if key in table.fields
                ],
            }
        )
    for one in commit.schema:
        shown = one.after or one.before or {}
        kind = "changed" if one.before and one.after else "deleted" if one.before else "created"
        what = "field" if one.field_id else "table"
        changes.append({"kind": f"{what} {kind}", "name": shown.get("name"), "cells": []})
    return {
        "number": commit.number,
        "time": iso(commit.time),
        "source": commit.actor.source,
        "person": commit.actor.person.name,
        "changes": changes,
    }
