"""Runs that are held up for longer than their lease lasts, and go on when another one has been."""

from __future__ import annotations

import itertools
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import rule

from reconciler_dagster import effects
from reconciler_dagster.postgres import lock
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.people import FIELDS, Act
from reconciler_dagster_tests.model.stage import Stage

ACTS = st.lists(
    st.builds(
        Act,
        lead=st.integers(0, 5),
        side=st.sampled_from(["airtable", "portal"]),
        column=st.sampled_from(list(FIELDS)),
        kind=st.sampled_from(["new", "clear"]),
    ),
    max_size=4,
)


class Leases(Stage):
    """The rule about leases."""

    @rule(at=st.integers(0, 30), before=ACTS, meanwhile=ACTS, after=ACTS)
    def a_run_is_stopped_beyond_its_lease(
        self, at: int, before: list[Act], meanwhile: list[Act], after: list[Act]
    ) -> None:
        """Just before it calls to write, or after anything else that it did."""
        overtaken: list[invariants.Written] = []
        count, stopped, clock = itertools.count(), [0.0], lock._now

        def stop(when: str, name: str) -> None:
            if (when == "before") is not name.startswith("PATCH") or next(count) != at:
                return
            effects.hook = None
            self._tell(f"stopped {when} {name}")
            late = self.world.value("SELECT run_id FROM reconciler.lease")
            self._all(meanwhile)
            self.world.sql("UPDATE reconciler.lease SET expires_at = '-infinity'")
            stopped[0] = 60
            self.world.sync()
            self._observe()  # what it wrote may be edited at once
            self.memory.epoch += 1
            self._all(after)
            overtaken.append(invariants.Written.of(self.world, late))

        self._all(before)
        with self._disturbed(), patch.object(lock, "_now", lambda: clock() + stopped[0]):
            effects.hook = stop
            self.world.sync()
        for then in overtaken:
            invariants.one_writer(self.world, then)

    def _all(self, acts: list[Act]) -> None:
        for act in acts:
            self._act(act)
        self.memory.epoch += 1
