"""What becomes of the trigger on the leads, and of the table under it: no write of the portal may
fail for it, and no edit be lost. Each rule leaves the database as it found it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import text

from reconciler_dagster.postgres.trigger import EDIT_TRIGGER
from reconciler_dagster_tests.model.linked_tables import migrate
from reconciler_dagster_tests.model.people import FIELDS, Act
from reconciler_dagster_tests.model.stage import Stage

ACTS = st.lists(
    st.builds(
        Act,
        lead=st.integers(0, 5),
        side=st.just("portal"),
        column=st.sampled_from([*FIELDS, "notes", "hrq_status"]),
        kind=st.sampled_from(["new", "new", "clear", "same", "first", "bad", "top", "rewrite"]),
    ),
    min_size=1,
    max_size=4,
)
# What happens to the table, and how it is undone.
MOVES = [
    ("RENAME updated_at TO changed_at", "RENAME changed_at TO updated_at"),
    (
        "ALTER updated_at DROP DEFAULT, ALTER updated_at TYPE text",
        "ALTER updated_at TYPE timestamptz USING updated_at::timestamptz, "
        "ALTER updated_at SET DEFAULT now()",
    ),
    (
        "DROP COLUMN updated_at",
        "ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()",
    ),
    ("DROP COLUMN enrolled_at", "ADD COLUMN enrolled_at timestamptz"),
    ("RENAME client_id TO customer", "RENAME customer TO client_id"),
    ("RENAME id TO key", "RENAME key TO id"),
]
# Foreign keys from the leads and to them: a new table does not have them by itself.
FOREIGN_KEYS = """
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
    pg_get_constraintdef(oid)) FROM pg_constraint
WHERE contype = 'f' AND 'leads'::regclass IN (conrelid, confrelid)
"""


class Trigger(Stage):
    """Rules about the trigger and its table."""

    @precondition(lambda self: self.open is None)
    @rule(move=st.sampled_from(MOVES), acts=ACTS, a_run=st.booleans())
    def the_schema_moves_under_the_engine(
        self, move: tuple[str, str], acts: list[Act], a_run: bool
    ) -> None:
        self.world.sql(f"ALTER TABLE leads {move[0]}")
        try:
            self._people(acts)
            if a_run:
                self._run()
        finally:
            self.world.sql(f"ALTER TABLE leads {move[1]}")

    @precondition(lambda self: self.open is None)
    @rule(acts=ACTS, a_run=st.booleans(), by_migration=st.booleans())
    def the_trigger_is_off_for_a_while(
        self, acts: list[Act], a_run: bool, by_migration: bool
    ) -> None:
        self.world.sql(f"ALTER TABLE leads DISABLE TRIGGER {EDIT_TRIGGER}")
        try:
            self._people(acts)
            if a_run:
                self._run()
                self._people(acts)
        finally:
            if by_migration:
                assert migrate(self.world) != []
            else:
                self.world.sql(f"ALTER TABLE leads ENABLE ALWAYS TRIGGER {EDIT_TRIGGER}")

    @rule(acts=ACTS)
    def replication_writes(self, acts: list[Act]) -> None:
        def update(record_id: str, **columns: Any) -> None:
            names = ", ".join(f"{name} = :{name}" for name in columns)
            with self.world.engine.begin() as connection:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
                connection.execute(
                    text(f"UPDATE leads SET {names} WHERE airtable_record_id = :id"),  # noqa: S608
                    {"id": record_id, **columns},
                )

        with patch.object(self.world, "update", update):
            self._people(acts)

    @precondition(lambda self: self.open is None)
    @rule(acts=ACTS, later=ACTS, a_run=st.booleans())
    def the_table_is_made_anew(self, acts: list[Act], later: list[Act], a_run: bool) -> None:
        """As by a person who copies it, and drops the old one later."""
        keys = [row[0] for row in self.world.sql(FOREIGN_KEYS)]
        self.world.sql("CREATE TABLE leads_anew (LIKE leads INCLUDING ALL)")
        self.world.sql("INSERT INTO leads_anew SELECT * FROM leads")
        self.world.sql("DROP TABLE leads CASCADE")
        self.world.sql("ALTER TABLE leads_anew RENAME TO leads")
        for key in keys:
            self.world.sql(key)
        try:
            self._people(acts)
            if a_run:
                self._run()
                self._people(later)
        finally:
            assert migrate(self.world) != []

    @precondition(lambda self: self.open is None)
    @rule(acts=ACTS, later=ACTS)
    def the_engine_s_notes_are_out_of_reach(self, acts: list[Act], later: list[Act]) -> None:
        with self._unreachable():
            self._people(acts)
        self._people(later)

    @contextlib.contextmanager
    def _unreachable(self) -> Iterator[None]:
        self.world.sql("ALTER TABLE reconciler.unsettled RENAME TO elsewhere")
        try:
            yield
        finally:
            self.world.sql("ALTER TABLE reconciler.elsewhere RENAME TO unsettled")

    def _people(self, acts: list[Act]) -> None:
        for act in acts:
            self._act(act)

    def _run(self) -> None:
        with self._disturbed():
            self.world.sync()
        self.memory.epoch += 1
