"""What the owners of the base and of the database do, and what the machines under them do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.postgres.connection import SETTINGS
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.cells import Cells
from reconciler_dagster_tests.model.memory import Edit
from reconciler_dagster_tests.model.people import FIELDS, OPTIONS, look

TEXTS = st.sampled_from(["company", "sms_stop_reason"])
# Deletions of so few leads are nobody's accident; of more, a person is asked.
BELIEVED = 5


class Owners(Cells):
    """Rules about fields, tables, servers and clocks."""

    @rule(column=st.sampled_from(["company", "sms_stop_reason", "notes"]))
    def a_field_is_renamed(self, column: str) -> None:
        name = FIELDS[column].airtable
        if not self._base_is_met():
            self._note_forgotten(agreed=False)  # a lead that is new arrives without this cell
        with self._disturbed():
            self.world.sandbox.rename_field(name, "Another name")
            try:
                self.world.session().check_mapping(force=True)
                self.world.sync()
            finally:
                self.world.sandbox.rename_field("Another name", name)
        unbound = "SELECT count(*) FROM reconciler.field_binding WHERE airtable_field_id IS NULL"
        if self.world.value(unbound):  # a base that was met just now did not have it by its name
            self.world.sql("UPDATE reconciler.table_binding SET read_at = to_timestamp(0)")
            self.memory.forgive_field(column)
            with self._disturbed():
                self.world.sync(EVERYTHING)

    @rule(column=TEXTS)
    def a_field_is_dropped_and_made_anew(self, column: str) -> None:
        name = FIELDS[column].airtable
        with self._field_gone(column):
            self.world.sandbox.delete_field(name)
            try:
                self.world.sync()
            finally:
                self.world.sandbox.create_field(name, "singleLineText")

    @rule(column=TEXTS)
    def a_field_is_retyped_and_back(self, column: str) -> None:
        name = FIELDS[column].airtable
        with self._field_gone(column):
            self.world.sandbox.retype_field(
                name, "checkbox", {"icon": "check", "color": "redBright"}
            )
            try:
                self.world.sync()
            finally:
                self.world.sandbox.retype_field(name, "singleLineText")

    @contextlib.contextmanager
    def _field_gone(self, column: str) -> Iterator[None]:
        """Whatever becomes of the cells in Airtable, the portal's values stand meanwhile, but for
        its edits of what Airtable owns: these may still be put back, as by any run. Others may be
        refused before the engine knows, and wait. Then the field is met again by whoever lists
        the records, which a delta alone never does.
        """
        self.refusals = True
        remote, local = look(self.world)
        standing = [
            key
            for key in local
            if FIELDS[column].both or self.memory.cells[key, column].last("portal") is None
        ]
        with self._disturbed():
            try:
                yield
            finally:
                self._note_emptied(remote)
                self.memory.forgive_field(column)
        after = look(self.world)[1]
        invariants.brakes(
            {key: local[key][column] for key in standing},
            {key: after[key][column] for key in standing},
        )
        with self._disturbed():
            self.world.sync(EVERYTHING)

    @rule(option=st.sampled_from(OPTIONS))
    def an_option_is_removed(self, option: str) -> None:
        """No record counts as modified: only a whole listing can see it."""
        remote = look(self.world)[0]
        with self._disturbed():
            self.refusals = True
            self.world.sandbox.remove_option("HRQ Status", option)
            self._note_emptied(remote)
            try:
                self.world.sync(EVERYTHING)
            finally:
                self.world.sandbox.add_option("HRQ Status", option)

    def _note_emptied(self, before: dict[str, dict[str, Any]]) -> None:
        """What a change of the schema did to cells is an edit in Airtable like any other."""
        for record_id, row in look(self.world)[0].items():
            for column, value in row.items():
                if value != before[record_id][column]:
                    edit = Edit(self.memory.epoch, "airtable", value)
                    self.memory.note(record_id, column, edit)
        self.memory.epoch += 1

    @precondition(lambda self: self.open is None)
    @rule()
    def the_leads_are_truncated(self) -> None:
        self.world.sql("TRUNCATE leads CASCADE")
        for record_id in self.memory.records:
            self.memory.forgive(record_id)
        self._note_forgotten(agreed=self._base_is_met())
        agreed = self.world.sql("SELECT record_id, fields FROM reconciler.baseline")
        for record_id, fields in agreed:  # of the rest only Airtable knows anything
            for cell in self.memory.of(record_id):
                cell.forgotten |= cell.field.column not in fields

    @rule()
    def the_baseline_is_lost(self) -> None:
        """The leads'. Then a whole listing is called for; first contact knows no author."""
        if self.open is None:
            self.world.sql("DELETE FROM reconciler.baseline WHERE sync = 'leads'")
            self.world.sql("DELETE FROM reconciler.cursor WHERE sync = 'leads'")
            for record_id in self.memory.records:
                self.memory.forgive(record_id)
            self._note_forgotten()

    @rule(few=st.booleans())
    def records_are_deleted_and_restored(self, few: bool) -> None:
        """Two complete listings without them; more than a few are left for a person to judge. A
        record that is back is met anew: what the portal held that Airtable had refused loses then.
        """
        while len(self.memory.records) <= BELIEVED:
            number = next(self.numbers)
            self._meet(self.world.sandbox.add({"Company": f"v{number}", "HRQ Status": "Review"}))
        self._clean(CHANGED)
        records = self.memory.records
        gone = records[:2] if few else records
        waiting = invariants.refused_by_airtable(self.world, gone)
        for record_id in gone:
            self.world.sandbox.delete(record_id)
        with self._disturbed():
            self.refusals = True
            for _ in range(2):
                windows.sweep(self.world)
        expected = set(gone) & look(self.world)[1].keys() if few else set()
        assert windows.inactive(self.world) <= expected
        if not self.open:
            invariants.brakes(expected, windows.inactive(self.world))
        for record_id in gone:
            self.world.sandbox.restore(record_id)
        with self._disturbed():
            windows.sweep(self.world)
        if not self.open:
            assert windows.inactive(self.world) == set()
        for record_id, column in waiting if few else ():
            self.memory.cells[record_id, column].lenient = True
        invariants.kept(self.world, waiting)

    @rule(milliseconds=st.integers(2, 40))
    def a_run_under_a_statement_timeout(self, milliseconds: int) -> None:
        # The engine's own, which it sets in each of its transactions.
        limit = {"statement_timeout": f"{milliseconds}ms"}
        with self._disturbed(), patch.dict(SETTINGS, limit):
            self.world.sync()

    @rule(table=st.sampled_from(["baseline", "journal", "conflict", "history", "seen", "cursor"]))
    def a_run_that_loses_a_deadlock(self, table: str) -> None:
        with self._disturbed():
            self.world.sql(
                f"CREATE TRIGGER model_deadlock BEFORE INSERT OR UPDATE ON reconciler.{table} "
                "EXECUTE FUNCTION model_deadlock()"
            )
            try:
                self.world.sync()
            finally:
                self.world.sql(f"DROP TRIGGER model_deadlock ON reconciler.{table}")

    @rule(seconds=st.sampled_from([1, 60, 1500, 3600, 7 * 86400, -2, -60, -1800, -7200]))
    def the_clock_of_airtable_jumps(self, seconds: int) -> None:
        """Back by more than the overlap and forth again without a run in between leaves no trace
        that a delta could see: then only a whole listing helps.
        """
        if seconds > 0 and self.behind:
            with self._disturbed():
                self.world.sync()
        self.behind = seconds < -self.world.session().overlap.seconds or (
            self.behind and seconds <= 0
        )
        self.ahead += max(seconds, 0)
        self.world.sandbox.advance(seconds)
