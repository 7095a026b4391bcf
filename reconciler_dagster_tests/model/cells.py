"""Cells that the portal's database refuses, also of new leads; and a base that is another one."""

from __future__ import annotations

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster_tests.model.memory import Edit
from reconciler_dagster_tests.model.people import BARRED, FIELDS, look
from reconciler_dagster_tests.model.stage import Stage
from reconciler_dagster_tests.world import World

BASES = ("appModelFirst0000", "appModelSecond000")
# Where nothing better is known, the portal's own default stands in the place of a refused cell.
SCHEMA = f"""
ALTER TABLE leads ALTER hrq_status SET DEFAULT '{FIELDS["hrq_status"].default}';
ALTER TABLE leads ADD CONSTRAINT model_barred CHECK (hrq_status <> '{BARRED}');
ALTER TABLE leads ADD CONSTRAINT model_pair
    CHECK (company NOT LIKE 'bad%' OR coalesce(first_name, '') = 'nobody');
"""


def prepare(world: World) -> None:
    """The portal forbids what Airtable allows."""
    world.sandbox.add_option("HRQ Status", BARRED)
    world.sql(SCHEMA)


class Cells(Stage):
    """Rules about refused cells, and about where the records are."""

    @rule(columns=st.sets(st.sampled_from(["hrq_status", "company", "phone"]), min_size=1))
    def somebody_adds_a_record_with_cells_that_are_refused(self, columns: set[str]) -> None:
        """Such a cell is an edit of what stands in its place: the portal's default, or nothing."""
        number = next(self.numbers)
        bad = {"hrq_status": BARRED, "company": f"bad{number}", "phone": "9" * 21 + str(number)}
        cells = {"SMS Stop Reason": f"v{number}"}
        cells |= {FIELDS[column].airtable: bad[column] for column in columns}
        record_id = self.world.sandbox.add(cells)
        row = look(self.world)[0][record_id]
        stand_in = {c: FIELDS[c].blank if c != "hrq_status" else FIELDS[c].default for c in columns}
        self.memory.meet(record_id, row | stand_in)
        for column in columns:
            self.memory.note(record_id, column, Edit(self.memory.epoch, "airtable", bad[column]))
        self._observe()

    @precondition(lambda self: self.open is None)
    @rule()
    def the_base_is_another_one(self) -> None:
        """A restored snapshot under another id: then nothing says who was the last to edit."""
        here = self.world.sandbox.base_id
        there = BASES[here == BASES[0]]
        note(f"from {here} to {there}")
        self.world.sandbox = self.world.sandbox.copy_base(there)
        self.world.sql("UPDATE clients SET airtable_base_id = :base", base=there)
        with self.world.engine.connect() as connection:
            self.world.client = active_clients(connection)[0]
        for record_id in self.memory.records:
            self.memory.forgive(record_id)
        self._note_forgotten(agreed=False)

    def _base_is_met(self) -> bool:
        """Whether a run has noticed the base. It forgets then what is agreed on in another one."""
        met = "SELECT count(*) FROM reconciler.table_binding WHERE sync = 'leads' AND base_id = :b"
        return bool(self.world.value(met, b=self.world.sandbox.base_id))

    def _note_forgotten(self, *, agreed: bool = True) -> None:
        """Leads that nobody but Airtable knows any more. ``agreed``: what is agreed on counts."""
        known = self.world.sql(
            "SELECT airtable_record_id FROM leads UNION SELECT record_id FROM reconciler.baseline "
            "WHERE :agreed UNION SELECT record_id FROM reconciler.unsettled "
            "WHERE deleted_row IS NOT NULL",
            agreed=agreed,
        )
        for record_id in set(self.memory.records) - {row[0] for row in known}:
            self.memory.forget(record_id)
