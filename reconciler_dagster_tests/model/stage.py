"""What every rule of a history uses: carrying acts out, watching both sides, and settling."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from typing import Any

import httpx
from hypothesis import currently_in_test_context, note
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy.exc import DBAPIError

from reconciler_dagster import effects
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.place import PlaceChanged
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.postgres.lock import LeaseLost
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.memory import Edit, Memory
from reconciler_dagster_tests.model.people import (
    BARRED,
    FIELDS,
    OPTIONS,
    Act,
    bad_value,
    is_bad,
    look,
    new_value,
    write,
)
from reconciler_dagster_tests.world import World

FAILURES = (SourceError, ConfigurationError, DBAPIError, LeaseLost, PlaceChanged)
# What one history leaves to the next: the field map's bindings and the call budget.
KEPT = (
    "alembic_version",
    "table_binding",
    "field_binding",
    "call_bucket",
    "call_log",
    "lease",
    "adoption",
)


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


class Stage(RuleBasedStateMachine):
    """One history over one world, which is shared and swept before each."""

    world: World
    portal: httpx.Client
    signed_in: dict[str, dict[str, str]]
    chance: random.Random
    # What each glance showed, of all histories: whether nothing.
    shown: list[bool]

    def _begin(self) -> None:
        self.memory, self.numbers = Memory(), itertools.count(1)
        self.open: Any = None
        self.locked: dict[str, list[tuple[str, Edit]]] = {}
        self.refusals = self.behind = False
        self.ahead = 0
        self.spellings = ("{}",)
        self.world.sandbox.switch(trim_text=False, crlf_to_lf=False)
        if any(
            f["name"] == "Notes" and f["type"] == "richText" for f in self.world.sandbox.fields()
        ):
            self.world.sandbox.retype_field("Notes", "multilineText")
        for record_id in self.world.sandbox.records():
            self.world.sandbox.delete(record_id)
        tables = self.world.sql(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'reconciler' AND table_name <> ALL(:kept)",
            kept=list(KEPT),
        )
        with self.world.engine.begin() as connection:
            for table in ("public.leads", *(f"reconciler.{row[0]}" for row in tables)):
                connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - of the catalogue

    def _meet(self, record_id: str) -> None:
        self.memory.meet(record_id, look(self.world)[0][record_id])
        self._observe()

    def _pick(self, lead: int) -> str:
        records = self.memory.records
        return records[lead % len(records)]

    def _act(self, act: Act) -> None:
        record_id, (remote, local) = self._pick(act.lead), look(self.world)
        if act.side == "portal" and (record_id not in local or record_id in self.locked):
            return
        edit = self._edit(act, record_id, remote, local)
        if edit is not None:
            write(self.world, act.side, record_id, act.column, edit.value)
            self.memory.note(record_id, act.column, edit)
            cell = self.memory.cells[record_id, act.column]
            if act.side == "airtable" and is_bad(edit.value) and not cell.held["portal"]:
                cell.lenient = cell.forgotten = True  # the portal's new lead is blank there
            self._observe()

    def _edit(self, act: Act, record_id: str, remote: Any, local: Any) -> Edit | None:
        column, number = act.column, next(self.numbers)
        mine = (remote if act.side == "airtable" else local).get(record_id)
        other = (local if act.side == "airtable" else remote).get(record_id)
        value = new_value(column, number)
        if column == "phone" and act.side == "portal":
            return None
        if column == "notes":
            return self._note(act, mine[column], value)
        if act.kind == "clear":
            value = FIELDS[column].blank
        elif act.kind == "same" and other is not None:
            value = other[column]
        elif act.kind == "first":
            value = self.memory.cells[record_id, column].base
        elif act.kind == "bad":
            value = bad_value(act.side, column, number) or value
        if (
            column == "hrq_status"
            and act.side == "airtable"
            and value not in (*OPTIONS, BARRED, None)
        ):
            return None
        refused = bad_value("airtable", column, number)  # by the portal's own database
        if (
            act.side == "portal"
            and refused
            and is_bad(value)
            and (column != "hrq_status" or value == BARRED)
        ):
            return None
        return None if value == mine[column] else Edit(self.memory.epoch, act.side, value)

    def _note(self, act: Act, before: str | None, token: str) -> Edit:
        if act.kind == "clear":
            return Edit(self.memory.epoch, act.side, None, rewrote=True)
        spelling = self.spellings[int(token[1:]) % len(self.spellings)]
        line = spelling.format(token)
        if act.kind == "rewrite" or not before:
            return Edit(self.memory.epoch, act.side, line, token, act.kind == "rewrite")
        on_top = act.kind == "top" and act.side == "airtable"
        gap = "" if before.endswith("\n") else "\n"
        written = f"{line}\n{before}" if on_top else f"{before}{gap}{line}"
        return Edit(self.memory.epoch, act.side, written, token)

    def _tell(self, what: str) -> None:
        """A note, except from a thread of a run's: Hypothesis takes none from there."""
        if currently_in_test_context():
            note(what)

    @contextlib.contextmanager
    def _disturbed(self) -> Iterator[None]:
        self.memory.epoch += 1
        try:
            yield
        except (Killed, *FAILURES) as why:
            note(f"ended by {type(why).__name__} {why}")
        finally:
            effects.hook = None
            self.world.sandbox.clear_faults()
            self.world.sandbox.switch(largest_page=100)
        self._observe()

    def _clean(self, scope: Scope) -> Any:
        """A run that nothing disturbs settles everything that was edited before it."""
        self._make_due()
        self.memory.epoch += 1
        ran = self.world.sync(scope)
        remote, local = self._observe()
        if self.open is None:
            self.refusals = False
            invariants.survival(self.world, self.memory, remote, local)
            invariants.convergence(self.world, self.memory)
            invariants.isolation(self.world, ran)
            self._settle(remote, local)
        return ran

    def _make_due(self) -> None:
        """What was refused for a reason that is gone is tried again at once."""
        if self.refusals:
            self.world.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")

    def _settle(self, remote: Any, local: Any) -> None:
        last = self.world.value("SELECT coalesce(max(id), 0) FROM reconciler.conflict")
        for (record_id, column), cell in self.memory.cells.items():
            if remote[record_id][column] == local[record_id][column]:
                cell.settle(remote[record_id][column])
                cell.since = last

    def _observe(self) -> Any:
        remote, local = look(self.world)
        self.memory.see(remote, local)
        invariants.original_or_final(self.memory, remote, local)
        return remote, local
