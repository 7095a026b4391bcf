"""A run whose lease ends while it can do nothing: another one takes its client over, and the first
one must write no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests.crash.busy import Copies
from reconciler_dagster_tests.crash.nursery import Nursery
from reconciler_dagster_tests.model.invariants import crash_equivalence
from reconciler_dagster_tests.world import World

# Batches that went side by side, each noted as sent in a transaction of its own, without the one at
# whose call the run was stopped, if it was at a call. One that had been let through already cannot
# be called back: Airtable knows no lease.
_BESIDE = """
SELECT greatest(0, count(DISTINCT xmin::text) - :own)::int FROM reconciler.journal
WHERE run_id = :id AND state = 'sent'
"""
_WRITES = "SELECT side, record_id, field FROM reconciler.history WHERE run_id = :id ORDER BY id"


@dataclass(frozen=True)
class Undisturbed:
    """How a run in a process of its own ends that nothing happens to."""

    effects: int
    state: dict[str, Any]

    def require_same_end(self, copies: Copies, case: World, name: str, what: str) -> None:
        """Raise AssertionError unless a copy ends like it. ``what``: what happened to the copy."""
        try:
            crash_equivalence(copies.settle(case, name), self.state)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None


def run_undisturbed(
    copies: Copies, nursery: Nursery, environment: dict[str, str], name: str
) -> Undisturbed:
    """A run over a copy of that name, to its end."""
    case = copies.copy(name)
    url = case.settings.require_database_url()
    status, effects = nursery.run(**environment, DATABASE_URL=url)
    state = copies.settle(case, name)
    assert status == 0
    return Undisturbed(effects, state)


def environment_of(copies: Copies, lease_seconds: int, **more: str) -> dict[str, str]:
    """What the runs are told."""
    sandbox = copies.busy.sandbox
    return {
        "AIRTABLE_API_KEY": sandbox.token,
        "AIRTABLE_ENDPOINT_URL": sandbox.url,
        "RECONCILER_LEASE_SECONDS": str(lease_seconds),
        **more,
    }


@dataclass(frozen=True)
class Overtaken:
    """A run that another one has overtaken, and what it had written by then."""

    case: World
    run_id: str
    beside: int
    written: Any

    def require_no_more(self, point: object) -> None:
        """Raise AssertionError where it has written anything since, but for calls that had been let
        through already.
        """
        assert self.case.sql(_WRITES, id=self.run_id) == self.written, point
        patches = [call for call in self.case.sandbox.calls() if call["method"] == "PATCH"]
        assert len(patches) <= self.beside, point


def overtake(case: World, run_id: str, *, at_a_write: bool = True) -> Overtaken:
    """Wait until the run's lease is over, take its client, and run to the end. ``at_a_write``: it
    came to a stop at a call that writes, so that this one at least must not go out any more.
    """
    with client_lock(case.engine, case.client.id, "takes it over", 600):
        pass
    beside = case.value(_BESIDE, id=run_id, own=int(at_a_write))
    case.sync()
    written = case.sql(_WRITES, id=run_id)
    case.sandbox.reset_calls()
    return Overtaken(case, run_id, beside, written)
