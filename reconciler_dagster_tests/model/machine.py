"""Random histories: people on both sides, runs, and everything that can go wrong with a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from sqlalchemy import text

from reconciler_dagster import effects
from reconciler_dagster.airtable import transport
from reconciler_dagster.core.scope import CHANGED, EVERYTHING, Scope
from reconciler_dagster.engine import rounds
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.links import fill_links
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.consent import Consent
from reconciler_dagster_tests.model.forms import Forms
from reconciler_dagster_tests.model.leases import Leases
from reconciler_dagster_tests.model.linked import Linked, linked_only
from reconciler_dagster_tests.model.memory import Edit
from reconciler_dagster_tests.model.owners import Owners
from reconciler_dagster_tests.model.people import (
    FIELDS,
    Act,
    Kind,
    Side,
    in_airtable,
    in_portal,
    look,
    new_value,
)
from reconciler_dagster_tests.model.stage import Killed
from reconciler_dagster_tests.model.trigger import Trigger
from reconciler_dagster_tests.world import ANN, BOB

# Airtable's whole seconds tell nothing apart until then.
LATER = 60.0
COLUMNS = [*FIELDS, "notes", "hrq_status", "claimed_by"]
KINDS: list[Kind] = ["new", "new", "new", "clear", "same", "first", "bad", "top", "rewrite"]
ACTS = st.builds(
    Act,
    lead=st.integers(0, 5),
    side=st.sampled_from(["airtable", "portal"]),
    column=st.sampled_from(COLUMNS),
    kind=st.sampled_from(KINDS),
)
SOME = st.lists(ACTS, min_size=1, max_size=6)
FAULTS = st.fixed_dictionaries(
    {
        "act": st.sampled_from(
            [
                "status",
                "status_after_commit",
                "cut_before_commit",
                "cut_after_commit",
                "truncate",
                "kill_iterator",
                "slow",
                "hang",
            ]
        ),
        "seconds": st.just(0.4),
        "status": st.sampled_from([400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504]),
        "method": st.sampled_from(["GET", "PATCH", ""]),
        "skip": st.integers(0, 3),
        "times": st.integers(1, 3),
    }
)


class Histories(Linked, Owners, Forms, Leases, Trigger, Consent):
    """The rules about people and runs."""

    @initialize(contents=st.lists(SOME, min_size=2, max_size=3), chance=st.integers(0, 2**64))
    def begin(self, contents: list[list[Act]], chance: int) -> None:
        self._begin()
        self.chance = Random(chance)
        # Mostly so few that several hundreds are on their way side by side.
        rounds.HUNDRED = self.chance.choice([100, 3, 2])
        self._begin_linked()
        for acts in contents:
            cells: dict[str, Any] = {}
            for act in acts:
                value = new_value(act.column, next(self.numbers))
                cells |= in_airtable(act.column, value)
                if act.column == "notes":
                    self.memory.tokens.add(value)
            self._meet(self.world.sandbox.add(cells))
        self._clean(CHANGED)

    # People

    @rule()
    def a_bunch_of_people(self) -> None:
        """The rule without arguments that is first by name is drawn most often of all."""
        for _ in range(self.chance.randint(1, 8)):
            side: Side = self.chance.choice(["airtable", "portal"])
            column, kind = self.chance.choice(COLUMNS), self.chance.choice(KINDS)
            self._act(Act(self.chance.randrange(6), side, column, kind))

    @rule(acts=SOME)
    def people(self, acts: list[Act]) -> None:
        for act in acts:
            self._act(act)

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

    @rule(
        lead=st.integers(0, 5),
        act=st.sampled_from(["claim", "unclaim", "remove-from-campaign", "notes"]),
        email=st.sampled_from([ANN, BOB]),
    )
    def somebody_uses_the_portal(self, lead: int, act: str, email: str) -> None:
        record_id = self._pick(lead)
        before = look(self.world)[1]
        if record_id not in before or record_id in self.locked:
            return
        number = next(self.numbers)
        body = {
            "remove-from-campaign": {"reason": f"v{number}"},
            "notes": {"content": f"v{number}", "type": "General"},
        }
        id_ = self.world.lead(record_id)["id"]
        answer = self.portal.post(
            f"/api/leads/{id_}/{act}", json=body.get(act), headers=self.signed_in[email]
        )
        assert answer.status_code in (200, 201, 409), answer.text
        for column, value in look(self.world)[1][record_id].items():
            if value != before[record_id][column]:
                line = value.split("\n")[-1] if column == "notes" else None
                self.memory.note(record_id, column, Edit(self.memory.epoch, "portal", value, line))
        self._observe()

    # Runs

    @rule(scope=st.sampled_from([CHANGED, CHANGED, CHANGED, EVERYTHING]))
    def a_run(self, scope: Scope) -> None:
        self._clean(scope)

    @rule()
    def a_dry_run_and_the_run(self) -> None:
        if self.open is None:
            self._make_due()
            planned = invariants.dry_run(self.world, CHANGED)
            ran = self._clean(CHANGED)
            assert ran.change_set == planned, f"{ran.change_set} is not {planned}"

    @rule(acts=st.lists(ACTS, max_size=2))
    def a_glance_and_the_run(self, acts: list[Act]) -> None:
        """Often nobody has done anything meanwhile; else one thing has happened."""
        self._rest()
        self.people(acts)
        happened: list[Callable[[], None]] = [lambda: None, self.the_baseline_is_lost]
        if self.open is None:
            happened.append(self.the_leads_are_truncated)
        if linked_only(self):
            happened += [self._edit_linked, self._edit_linked, self.a_nameless_team_gets_its_name]
            happened += [partial(self.a_person_chooses, side) for side in ("airtable", "postgres")]
            happened.append(partial(self.somebody_sets_a_size, 0))
        if not acts:
            self.chance.choice(happened)()
        self._glance()

    def _rest(self) -> None:
        """What was sent is read back, and lies behind for so long that it is left out."""
        for _ in range(2):
            self._clean(CHANGED)
            self.world.sandbox.advance(LATER)

    def _glance(self) -> None:
        self._make_due()
        nothing = invariants.glance(self.world)
        self.shown.append(nothing)
        before = invariants.everything(self.world)
        self._clean(CHANGED)
        if nothing:
            invariants.nothing_came_of(before, invariants.everything(self.world))

    @rule(first=SOME, second=SOME, third=SOME)
    def a_run_with_people_in_it(
        self, first: list[Act], second: list[Act], third: list[Act]
    ) -> None:
        sessions = self.world.sessions()
        with client_lock(self.world.engine, self.world.client.id, sessions[0].run_id, 5):
            self.memory.epoch += 1
            for session in sessions:
                pull_airtable(session, CHANGED)
            self.people(first)
            self.memory.epoch += 1
            for session in sessions:
                pull_postgres(session)
            self.people(second)
            self.memory.epoch += 1
            for session in sessions:
                diff(session)
            self.people(third)
            for session in sessions:
                push(session)
            fill_links(sessions)
            self.memory.epoch += 1
        self._observe()

    @rule(at=st.integers(0, 60), moment=st.sampled_from(["before", "after"]))
    def a_run_that_is_killed(self, at: int, moment: str) -> None:
        with self._disturbed():
            count = itertools.count()

            def kill(when: str, name: str) -> None:
                if when == moment and next(count) == at:
                    self._tell(f"killed {moment} {name}")
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
            self.world.sandbox.reset_calls()
            for each in (fault, *more):
                self.world.sandbox.fault(**each)
            self.world.sandbox.switch(largest_page=2)  # for iterators to be lost
            with patch.object(transport, "CALL_TIMEOUT", (1.0, 0.3)):
                self.world.sync()
        invariants.budget(self.world)

    @rule(acts=SOME)
    def a_great_sync_with_people_in_it(self, acts: list[Act]) -> None:
        with self._disturbed():
            own, window = windows.listed(self.world)
            self.people(acts)
            self.memory.epoch += 1
            windows.carried_out(own, window)

    @rule()
    def an_audit_window(self) -> None:
        with self._disturbed():
            windows.next_hour(self.world)
            windows.audited(self.world)

    @rule(keep=st.integers(0, 2))
    def a_great_sync_whose_listing_is_short(self, keep: int) -> None:
        before = windows.inactive(self.world), windows.states(self.world)
        with self._disturbed():
            self.world.sandbox.fault("short_listing", keep=keep, method="GET")
            windows.sweep(self.world)
        after = windows.inactive(self.world), windows.states(self.world)
        invariants.brakes(before[0], after[0])

    @rule(acts=SOME)
    def two_runs_at_once(self, acts: list[Act]) -> None:
        with self._disturbed():
            with ThreadPoolExecutor(2) as pool:
                runs = [pool.submit(self.world.sync) for _ in range(2)]
                for act in acts:  # each may fall before, into or after either run
                    self.memory.epoch += 1
                    self._act(act)
                for run in runs:
                    run.result()
            self.memory.epoch += 1

    @rule(lead=st.integers(0, 5), acts=SOME)
    def a_record_is_deleted_and_restored(self, lead: int, acts: list[Act]) -> None:
        record_id = self._pick(lead)
        self.world.sandbox.delete(record_id)
        with self._disturbed():
            self.refusals = True
            self.world.sync()
        self.world.sandbox.restore(record_id)
        self.people(acts)

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
                columns = in_portal(self.world, act.column, edit.value)
                given = ", ".join(f"{column} = :{column}" for column in columns)
                self.open.execute(
                    text(f"UPDATE leads SET {given} WHERE airtable_record_id = :id"),  # noqa: S608
                    {**columns, "id": record_id},
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

    @invariant()
    def the_baseline_is_honest(self) -> None:
        if hasattr(self, "memory"):
            invariants.baseline_honesty(self.world, self.memory)
            if self.linked.cells:
                invariants.baseline_honesty(self.world, self.linked)
            invariants.whole_claims(self.world)

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
        invariants.quiet(self.world, EVERYTHING)
        self._rest()
        self._glance()
