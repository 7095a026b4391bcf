"""Clients that nobody has adopted, or whose consent is taken back, whatever run comes by."""

from __future__ import annotations

import contextlib

from hypothesis import strategies as st
from hypothesis.stateful import rule

from reconciler_dagster import effects
from reconciler_dagster.core.adoption import NotAdopted
from reconciler_dagster.core.scope import CHANGED, EVERYTHING, Scope
from reconciler_dagster.postgres import adoption
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.people import look
from reconciler_dagster_tests.model.stage import Stage

STANDINGS = {
    "new": "DELETE FROM reconciler.adoption",
    "paused": "UPDATE reconciler.adoption SET state = 'paused'",
    "another sync's alone": "UPDATE reconciler.adoption SET syncs = '{another}'",
}


class Consent(Stage):
    """The rules about consent."""

    @rule(stands=st.sampled_from(sorted(STANDINGS)), how=st.sampled_from(["run", "all", "sweep"]))
    def a_run_without_consent(self, stands: str, how: str) -> None:
        """It looks, and goes."""
        self.world.sql(STANDINGS[stands])
        before = look(self.world)
        with self._disturbed(), contextlib.suppress(NotAdopted):
            self._run_as(how)
        invariants.consent(before, look(self.world))
        self.world.sql("DELETE FROM reconciler.adoption")
        self.world.adopt()

    @rule(at=st.integers(0, 30))
    def a_run_whose_client_is_paused_meanwhile(self, at: int) -> None:
        """What it had written stands; nothing is written from then on."""
        seen, count = [], iter(range(at + 1))

        def pause(when: str, name: str) -> None:
            if when == "after" and next(count, None) is None:
                effects.hook = None
                with self.world.engine.begin() as connection:
                    adoption.pause(connection, self.world.client.id, "somebody")
                seen.append(look(self.world))

        with self._disturbed():
            effects.hook = pause
            with contextlib.suppress(NotAdopted):
                self.world.sync()
        if seen:
            invariants.consent(seen[0], look(self.world))
        self.world.adopt()
        self.world.sql("UPDATE reconciler.adoption SET state = 'adopted'")

    def _run_as(self, how: str) -> None:
        scope: Scope = CHANGED if how == "run" else EVERYTHING
        if how == "sweep":
            windows.sweep(self.world, scope)
        else:
            self.world.sync(scope)
