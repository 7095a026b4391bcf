"""Random histories: people on both sides, runs, and everything that can go wrong with a run."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import psycopg
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from reconciler_dagster import effects
from reconciler_dagster.airtable.errors import AirtableError
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.scope import CHANGED, EVERYTHING, Scope
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.memory import Edit, Memory
from reconciler_dagster_tests.model.people import (
    FIELDS,
    OPTIONS,
    Act,
    bad_value,
    look,
    new_value,
    to_portal,
    write,
)
from reconciler_dagster_tests.world import World

ACTS = st.builds(
    Act,
    lead=st.integers(0, 5),
    side=st.sampled_from(["airtable", "portal"]),
    column=st.sampled_from([*FIELDS, "notes", "hrq_status", "claimed_by"]),
    kind=st.sampled_from(["new", "new", "new", "clear", "same", "first", "bad", "top", "rewrite"]),
)
SOME = st.lists(ACTS, min_size=1, max_size=6)
FAULTS = st.fixed_dictionaries(
    {
        "act": st.sampled_from(
            ["status", "status_after_commit", "cut_before_commit", "cut_after_commit", "truncate"]
        ),
        "status": st.sampled_from([400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504]),
        "method": st.sampled_from(["GET", "PATCH", ""]),
        "skip": st.integers(0, 3),
        "times": st.integers(1, 3),
    }
)
FAILURES = (AirtableError, ConfigurationError, DBAPIError)
OWN = [
    f"reconciler.{table}"
    for table in (
        "baseline",
        "cursor",
        "seen",
        "unsettled",
        "journal",
        "conflict",
        "quarantine",
        "history",
    )
]


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


class Histories(RuleBasedStateMachine):
    """One history over one world, which is shared and swept before each."""

    world: World

    @initialize(contents=st.lists(SOME, min_size=2, max_size=3))
    def begin(self, contents: list[list[Act]]) -> None:
        self.memory, self.numbers = Memory(), itertools.count(1)
        self.open: Any = None
        self.locked: dict[str, list[tuple[str, Edit]]] = {}
        self.refusals = self.blind = False
        self._sweep()
        for acts in contents:
            cells = {}
            for act in acts:
                value = new_value(act.column, next(self.numbers))
                cells[FIELDS[act.column].airtable] = value
                if act.column == "notes":
                    self.memory.tokens.add(value)
            self._meet(self.world.sandbox.add(cells))
        self._clean(CHANGED)

    def _sweep(self) -> None:
        for record_id in self.world.sandbox.records():
            self.world.sandbox.delete(record_id)
        with self.world.engine.begin() as connection:
            for table in ("public.leads", *OWN):
                connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - constants

    def _meet(self, record_id: str) -> None:
        self.memory.meet(record_id, look(self.world)[0][record_id])
        self._observe()

    # People

    @rule(acts=SOME)
    def people(self, acts: list[Act]) -> None:
        for act in acts:
            self._act(act)

    @rule(acts=SOME)
    def more_people(self, acts: list[Act]) -> None:
        self.people(acts)

    @rule()
    def somebody_adds_a_record(self) -> None:
        number = next(self.numbers)
        self._meet(self.world.sandbox.add({"Company": f"v{number}", "HRQ Status": "Review"}))

    @rule(lead=st.integers(0, 5))
    def a_lead_is_deleted_in_the_portal(self, lead: int) -> None:
        record_id = self._pick(lead)
        if record_id in look(self.world)[1] and record_id not in self.locked:
            self.world.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
            self.memory.forgive(record_id)

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
        if column == "hrq_status" and act.side == "airtable" and value not in (*OPTIONS, None):
            return None
        if column == "claimed_by" and act.side == "portal" and str(value).startswith("bad"):
            return None
        return None if value == mine[column] else Edit(self.memory.epoch, act.side, value)

    def _note(self, act: Act, before: str | None, token: str) -> Edit:
        if act.kind == "clear":
            return Edit(self.memory.epoch, act.side, None, rewrote=True)
        if act.kind == "rewrite" or not before:
            return Edit(self.memory.epoch, act.side, token, token, act.kind == "rewrite")
        on_top = act.kind == "top" and act.side == "airtable"
        written = f"{token}\n{before}" if on_top else f"{before}\n{token}"
        return Edit(self.memory.epoch, act.side, written, token)

    # Runs

    @rule(scope=st.sampled_from([CHANGED, CHANGED, CHANGED, EVERYTHING]))
    def a_run(self, scope: Scope) -> None:
        self._clean(scope)

    @rule()
    def a_dry_run_and_the_run(self) -> None:
        if self.open is None:
            planned = invariants.dry_run(self.world, CHANGED)
            ran = self._clean(CHANGED)
            assert ran.change_set == planned

    @rule(first=SOME, second=SOME, third=SOME)
    def a_run_with_people_in_it(
        self, first: list[Act], second: list[Act], third: list[Act]
    ) -> None:
        session = self.world.session()
        with client_lock(self.world.engine, self.world.client.id, session.run_id, 5):
            self.memory.epoch += 1
            pull_airtable(session, CHANGED)
            self.people(first)
            self.memory.epoch += 1
            pull_postgres(session)
            self.people(second)
            self.memory.epoch += 1
            diff(session)
            self.people(third)
            push(session)
            self.memory.epoch += 1
        self._observe()

    @rule(at=st.integers(0, 60), moment=st.sampled_from(["before", "after"]))
    def a_run_that_is_killed(self, at: int, moment: str) -> None:
        with self._disturbed():
            count = itertools.count()

            def kill(when: str, name: str) -> None:
                if when == moment and next(count) == at:
                    note(f"killed {moment} {name}")
                    raise Killed

            effects.hook = kill
            self.world.sync()

    @rule(at=st.integers(0, 60))
    def a_run_whose_postgres_goes_away(self, at: int) -> None:
        with self._disturbed():
            count = itertools.count()

            def cut(when: str, name: str) -> None:
                if when == "before" and next(count) == at:
                    with psycopg.connect(self.world.settings.require_database_url()) as other:
                        other.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE application_name = 'reconciler' AND datname = "
                            "current_database() AND pid <> ALL(%s)",
                            (
                                [self.open.connection.dbapi_connection.info.backend_pid]
                                if self.open
                                else [0],
                            ),
                        )

            effects.hook = cut
            self.world.sync()

    @rule(fault=FAULTS, more=st.lists(FAULTS, max_size=1))
    def a_run_with_faults(self, fault: dict[str, Any], more: list[dict[str, Any]]) -> None:
        with self._disturbed():
            self.refusals = True
            for each in (fault, *more):
                self.world.sandbox.fault(**each)
            self.world.sync()

    @contextlib.contextmanager
    def _disturbed(self) -> Any:
        self.memory.epoch += 1
        try:
            yield
        except (Killed, *FAILURES) as why:
            note(f"ended by {type(why).__name__} {why}")
        finally:
            effects.hook = None
            self.world.sandbox.clear_faults()
        self._observe()

    def _clean(self, scope: Scope) -> Any:
        """A run that nothing disturbs settles everything that was edited before it."""
        if self.refusals:
            self.world.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
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

    def _settle(self, remote: Any, local: Any) -> None:
        last = self.world.value("SELECT coalesce(max(id), 0) FROM reconciler.conflict")
        for (record_id, column), cell in self.memory.cells.items():
            if remote[record_id][column] == local[record_id][column]:
                cell.settle(remote[record_id][column])
                cell.since = last

    # The world

    @precondition(lambda self: self.open is None)
    @rule(acts=SOME)
    def a_transaction_stays_open(self, acts: list[Act]) -> None:
        _, local = look(self.world)
        self.open = self.world.engine.connect()
        self.open.begin()
        for act in acts:
            record_id = self._pick(act.lead)
            if record_id not in local or record_id in self.locked or act.column == "notes":
                continue
            edit = self._edit(
                Act(act.lead, "portal", act.column, act.kind), record_id, *look(self.world)
            )
            if edit is not None:
                value = to_portal(self.world, act.column, edit.value)
                self.open.execute(
                    text(f"UPDATE leads SET {act.column} = :v WHERE airtable_record_id = :id"),  # noqa: S608
                    {"v": value, "id": record_id},
                )
                self.locked[record_id] = [(act.column, edit)]

    @precondition(lambda self: self.open is not None)
    @rule(commit=st.booleans())
    def the_transaction_ends(self, commit: bool) -> None:
        if commit:
            self.open.commit()
            for record_id, edits in self.locked.items():
                for column, edit in edits:
                    late = Edit(self.memory.epoch, edit.side, edit.value)
                    self.memory.note(record_id, column, late)
        self.open.close()
        self.open, self.locked = None, {}
        self._observe()

    @rule(seconds=st.sampled_from([1, 60, 1500, 3600, 7 * 86400, -2, -60, -1800, -7200]))
    def the_clock_of_airtable_jumps(self, seconds: int) -> None:
        self.world.sandbox.advance(seconds)

    @rule()
    def the_baseline_is_lost(self) -> None:
        """Then a whole listing is called for; first contact knows no author."""
        if self.open is None:
            self.world.sql("DELETE FROM reconciler.baseline")
            self.world.sql("DELETE FROM reconciler.cursor")
            for record_id in self.memory.records:
                self.memory.forgive(record_id)

    def _observe(self) -> Any:
        remote, local = look(self.world)
        for side, rows in (("airtable", remote), ("portal", local)):
            for (record_id, column), cell in self.memory.cells.items():
                if record_id in rows and rows[record_id][column] not in cell.held[side]:
                    cell.held[side].append(rows[record_id][column])
        invariants.original_or_final(self.memory, remote, local)
        return remote, local

    @invariant()
    def the_baseline_is_honest(self) -> None:
        if hasattr(self, "memory"):
            invariants.baseline_honesty(self.world, self.memory)

    def teardown(self) -> None:
        if not hasattr(self, "memory"):
            return
        effects.hook = None
        if self.open is not None:
            self.the_transaction_ends(True)
        self.refusals = True
        self._clean(CHANGED)
        self._clean(CHANGED)
        invariants.convergence(self.world, self.memory)
        if not invariants.quarantined(self.world):
            invariants.idempotence(self.world)
