"""Two linked syncs beside the leads, in some histories: every run there is over all three."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reconciler_dagster import effects
from reconciler_dagster.core.scope import EVERYTHING, Scope
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.engine.links import fill_links
from reconciler_dagster.engine.listing import list_window
from reconciler_dagster.engine.windows import reconcile
from reconciler_dagster.postgres.choices import choose
from reconciler_dagster_tests.model import invariants, linked_tables
from reconciler_dagster_tests.model.linked_tables import (
    MEMBER_FIELDS,
    TEAM_FIELDS,
    Held,
    LinkedMemory,
    look,
    write,
)
from reconciler_dagster_tests.model.memory import Edit
from reconciler_dagster_tests.model.people import Side
from reconciler_dagster_tests.model.stage import Stage

# Of the histories, so many have the linked syncs: each run costs three times as much there.
SHARE = float(os.environ.get("MODEL_LINKED", "0.125"))
LINKS = ("team_id", "also_ids")
COLUMNS = [*TEAM_FIELDS, *MEMBER_FIELDS, "team_id", "step"]
BUNCH = st.integers(1, 8)


def linked_only(machine: Any) -> bool:
    """Whether this history has the linked syncs."""
    return bool(machine.linked.cells)


class Linked(Stage):
    """Rules about teams and their members."""

    linked = LinkedMemory()  # empty where a history has none

    def _begin_linked(self) -> None:
        self.linked, self.world.beside = LinkedMemory(), list
        if self.chance.random() >= SHARE:
            return
        linked_tables.clear(self.world)
        self.world.beside = lambda: linked_tables.maps(self.world)
        for _ in range(2):
            self._add_team(named=True)
        for _ in range(3):
            self._add_member()

    # People

    @precondition(linked_only)
    @rule(count=BUNCH)
    def a_few_people_edit_teams_and_members(self, count: int) -> None:
        for _ in range(count):
            self._edit_linked()

    @precondition(linked_only)
    @rule(named=st.booleans(), members=st.integers(0, 2))
    def somebody_adds_a_team_with_members(self, named: bool, members: int) -> None:
        """Without a name it has no row yet: what links to it waits."""
        team = self._add_team(named)
        for _ in range(members):
            self._add_member(team)

    @precondition(linked_only)
    @rule()
    def a_nameless_team_gets_its_name(self) -> None:
        for record_id in sorted(self.linked.nameless)[:1]:
            cells = {"Name": f"v{next(self.numbers)}"}
            self.world.sandbox.on(table="Teams").edit(record_id, cells)
            self.linked.nameless.remove(record_id)
            self.linked.meet(record_id, look(self.world)[0][record_id])
            self._observe()

    @precondition(linked_only)
    @rule(team=st.booleans(), which=st.integers(0, 5))
    def a_row_is_deleted_in_postgres(self, team: bool, which: int) -> None:
        """Members of a team that is deleted there have none: that is an edit like any other."""
        table, column = ("teams", "name") if team else ("members", "alias")
        record_id = self._pick_linked(column, which)
        rows = look(self.world)[1].values()
        if team and any(record_id in (row.get("also_ids") or ()) for row in rows):
            return  # no foreign key would take it out there
        with self._as_edits("portal"):
            self.world.sql(
                f"DELETE FROM model.{table} WHERE airtable_record_id = :id",  # noqa: S608
                id=record_id,
            )
        self.linked.forgive(record_id)

    @precondition(linked_only)
    @rule(which=st.integers(0, 5), sweeps=st.integers(0, 2), later=BUNCH)
    def a_team_is_deleted_in_airtable_and_restored(
        self, which: int, sweeps: int, later: int
    ) -> None:
        """Airtable takes it out of all links, and puts it back into them."""
        record_id, teams = self._pick_linked("name", which), self.world.sandbox.on(table="Teams")
        with self._as_edits("airtable"):
            teams.delete(record_id)
        with self._disturbed():
            self.refusals = True
            for _ in range(sweeps):
                self._sweep_linked(0)
        agreed = "SELECT count(*) FROM reconciler.baseline WHERE record_id = :id"
        if not self.world.value(agreed, id=record_id):  # deleted here too: the sides meet anew
            self.linked.forgive(record_id)
        with self._as_edits("airtable"):
            teams.restore(record_id)
        with self._disturbed():
            self._sweep_linked(later)
        asked = "SELECT count(*) FROM model.teams WHERE NOT is_active"
        assert self.world.value(asked) == 0

    @precondition(linked_only)
    @rule(side=st.sampled_from(["airtable", "postgres"]))
    def a_person_chooses(self, side: Any) -> None:
        """What is given up counts as agreed on from then on."""
        pair = Pair(self.world.client.id, self.world.beside()[1])
        for (record_id, column), cell in self.linked.cells.items():
            if not isinstance(cell, Held):
                continue
            with self.world.engine.begin() as connection:
                chosen = choose(connection, pair, "model", record_id, column, side)
            if chosen:  # whatever was edited since it was put there
                cell.lenient, cell.waits = True, False
                for seen in ("airtable", "portal"):
                    cell.held[seen] += cell.possible()  # type: ignore[index]

    @precondition(linked_only)
    @rule(team=st.integers(0, 5))
    def somebody_sets_a_size(self, team: int) -> None:
        """It is put back."""
        self.world.sql(
            "UPDATE model.teams SET size = 77 WHERE airtable_record_id = :id",
            id=self._pick_linked("name", team),
        )

    # Runs

    @precondition(linked_only)
    @rule(at=st.integers(0, 60), count=BUNCH)
    def a_run_with_people_at_the_linked_tables_in_it(self, at: int, count: int) -> None:
        effect = itertools.count()

        def people(when: str, name: str) -> None:
            if when == "after" and next(effect) == at:
                effects.hook = None
                self.memory.epoch += 1
                for _ in range(count):
                    self._edit_linked()
                self.memory.epoch += 1

        with self._disturbed():
            effects.hook = people
            self.world.sync()
            self.memory.epoch += 1

    @precondition(linked_only)
    @rule(count=BUNCH)
    def a_great_sync_of_the_linked_tables_with_people_in_it(self, count: int) -> None:
        with self._disturbed():
            self._sweep_linked(count)

    def _sweep_linked(self, people: int) -> None:
        sessions = self.world.sessions("great_sync")[1:]
        listed = [list_window(one, EVERYTHING, one.key) for one in sessions]
        for _ in range(people):
            self._edit_linked()
        self.memory.epoch += 1
        for session, window in zip(sessions, listed, strict=True):
            reconcile(session, window)
        with sessions[0].turn():
            fill_links(sessions)

    # What each rule does

    def _clean(self, scope: Scope) -> Any:
        ran = super()._clean(scope)
        if self.linked.cells:
            remote, local = look(self.world)
            invariants.linked(self.world, self.linked, remote, local)
            invariants.derived(self.world)
            last = self.world.value("SELECT coalesce(max(id), 0) FROM reconciler.conflict")
            for (record_id, column), cell in self.linked.cells.items():
                if remote[record_id][column] == local[record_id][column]:
                    cell.settle(remote[record_id][column])
                    cell.since = last
                elif isinstance(cell, Held):
                    cell.waits = True
        return ran

    def _observe(self) -> Any:
        if self.linked.cells:
            remote, local = look(self.world)
            self.linked.see(remote, local)
            invariants.original_or_final(self.linked, remote, local)
            invariants.held(self.linked, remote, local)
        return super()._observe()

    def _note_forgotten(self, *, agreed: bool = True) -> None:
        super()._note_forgotten(agreed=agreed)  # type: ignore[misc]
        if self.linked.cells:
            local = look(self.world)[1]
            for record_id in self.linked.records:
                self.linked.forgive(record_id)
                if record_id not in local:
                    self.linked.forget(record_id)

    def _add_team(self, named: bool) -> str:
        number = next(self.numbers)
        cells = {"Goal": f"v{number}"} | ({"Name": f"v{number}"} if named else {})
        record_id = self.world.sandbox.on(table="Teams").add(cells)
        if named:
            self.linked.meet(record_id, look(self.world)[0][record_id])
        else:
            self.linked.nameless.add(record_id)
        self._observe()
        return record_id

    def _add_member(self, team: str | None = None) -> None:
        """A link is an edit of what stands in its place: nothing."""
        team = team or self._some_team("airtable")
        cells = {"Alias": f"v{next(self.numbers)}", "Team": [team], "Also": [team]}
        record_id = self.world.sandbox.on(table="Members").add(cells)
        row = look(self.world)[0][record_id]
        self.linked.meet(record_id, row | dict.fromkeys(LINKS))
        for column in LINKS:
            self.linked.note(record_id, column, Edit(self.memory.epoch, "airtable", row[column]))
        self._observe()

    def _edit_linked(self) -> None:
        side: Side = self.chance.choice(["airtable", "portal"])
        column = self.chance.choice(COLUMNS)
        record_id = self._pick_linked(column, self.chance.randrange(6))
        mine = look(self.world)[side == "portal"].get(record_id)
        value = self._new_linked(side, column, record_id)
        if mine is None or value == mine[column]:
            return
        write(self.world, side, record_id, column, value)
        self.linked.note(record_id, column, Edit(self.memory.epoch, side, value))
        self._observe()

    def _new_linked(self, side: Side, column: str, record_id: str) -> Any:
        kind = self.chance.choice(["new", "new", "clear", "same", "first"])
        if kind == "clear" and column != "name":
            return None
        if kind in ("first", "same") and column not in LINKS:
            cell = self.linked.cells[record_id, column]
            return cell.base if kind == "first" else cell.possible()[-1]
        if column == "team_id":
            return self._some_team(side)
        if column == "also_ids":
            return sorted({self._some_team(side) for _ in range(2)})
        return f"v{next(self.numbers)}"

    def _some_team(self, side: Side) -> str:
        remote, local = look(self.world)
        if side == "airtable":
            return self.chance.choice([*self._teams(remote), *sorted(self.linked.nameless)])
        own = [linked_tables.own_row(self.world)] if self.chance.random() < 0.1 else []
        return self.chance.choice(own or self._teams(local) or [linked_tables.own_row(self.world)])

    def _teams(self, rows: linked_tables.Rows) -> list[str]:
        return sorted(record_id for record_id, row in rows.items() if "goal" in row)

    def _pick_linked(self, column: str, which: int) -> str:
        records = sorted(key for key, name in self.linked.cells if name == column)
        return records[which % len(records)]

    @contextmanager
    def _as_edits(self, side: Side) -> Iterator[None]:
        """What is done brings other cells about, as if somebody had edited these too."""
        index = int(side == "portal")
        before = look(self.world)[index]
        yield
        after = look(self.world)[index]
        for record_id, column in self.linked.cells:
            if record_id in before.keys() & after.keys():
                value = after[record_id][column]
                if value != before[record_id][column]:
                    edit = Edit(self.memory.epoch, side, value)
                    self.linked.note(record_id, column, edit)
        self.memory.epoch += 1
