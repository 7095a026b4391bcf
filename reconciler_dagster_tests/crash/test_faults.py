"""Every status and fault of the sandbox, once in every position of a busy run.

By default a few of them; FAULT_STRIDE=1 tries all and writes docs/faults.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.core.source import SourceError
from reconciler_dagster_tests.crash.busy import Copies, busy_copies, end_state, small_hundreds
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.world import World

STRIDE = int(os.environ.get("FAULT_STRIDE", "23"))
STATUSES = (400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504)
FAULTS: dict[str, dict[str, Any]] = {
    **{f"status {status}": {"act": "status", "status": status} for status in STATUSES},
    "500 after the commit": {"act": "status_after_commit", "status": 500},
    "503 after the commit": {"act": "status_after_commit", "status": 503},
    "cut before the commit": {"act": "cut_before_commit"},
    "cut after the commit": {"act": "cut_after_commit"},
    "no answer, then cut": {"act": "hang", "seconds": 0.2},
    "slow answer": {"act": "slow", "seconds": 0.2},
    "half of the JSON": {"act": "truncate"},
    "short listing": {"act": "short_listing", "keep": 1},
    "lost iterator": {"act": "kill_iterator"},
}
PAGE_SIZE = 8  # so that the listing of a run has pages
TABLE = Path(__file__).parents[2] / "docs" / "faults.md"


class Cases:
    """The same busy world for each case."""

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self.number = self.calls = self.hits = 0

    def run(self, fault: dict[str, Any] | None) -> World:
        """One run from the busy state: its world. Notes its calls and how often the fault hit."""
        self.number += 1
        case = self.copies.copy(f"fault_{self.number}")
        case.settings.retry_seconds, case.settings.lockout_seconds = 0.001, 0.05
        case.sandbox.reset_calls()
        if fault is not None:
            case.sandbox.fault(**fault)
        try:
            case.sync()
        except (SourceError, ConfigurationError):
            assert fault is not None
        finally:
            self.hits = sum(armed["hits"] for armed in case.sandbox.faults())
            case.sandbox.clear_faults()
        self.calls = len(case.sandbox.calls())
        invariants.budget(case)
        return case

    def end(self, case: World) -> None:
        case.engine.dispose()
        self.copies.server.drop_database(f"fault_{self.number}")


def position(fault: dict[str, Any], n: int) -> dict[str, int]:
    """What lets a fault strike at the n-th call; an iterator is lost on its way to a page, and the
    first call has none.
    """
    return {"page": max(2, n)} if fault["act"] == "kill_iterator" else {"skip": n - 1}


def runs_needed(case: World, expected: dict[str, Any]) -> str:
    """How many further runs it took to end like an undisturbed run; "audit" where a delta cannot
    know and a window has to find it.
    """
    for runs in range(4):
        if end_state(case) == expected:
            return str(runs)
        case.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
        case.sync(EVERYTHING if runs == 2 else CHANGED)
    assert end_state(case) == expected
    return "audit"


@pytest.mark.usefixtures("migrated_template")
def test_every_fault_in_every_position_ends_in_convergence(
    postgres_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with busy_copies(postgres_server, "busy_faults", 110) as copies, small_hundreds():
        copies.busy.sandbox.switch(largest_page=PAGE_SIZE)
        cases = Cases(copies)
        cases.end(cases.run(None))  # what it wrote is put back: changed, for all that follow
        case, calls = cases.run(None), cases.calls
        case.sync()
        expected = end_state(case)
        cases.end(case)
        assert (expected["open"], expected["unsettled"]) == (0, 0)
        everything = [(name, n) for name in FAULTS for n in range(1, calls + 1)]
        table: dict[tuple[str, int], str] = {}
        for name, n in everything[::STRIDE]:
            case = cases.run(FAULTS[name] | position(FAULTS[name], n))
            assert cases.hits or name == "lost iterator", f"{name} did not strike call {n}"
            try:
                needed = runs_needed(case, expected)
            except AssertionError as error:
                raise AssertionError(f"{name} at call {n} of {calls}: {error}") from None
            table[name, n] = needed if cases.hits else "–"
            cases.end(case)
    if STRIDE == 1:
        TABLE.write_text(_page(table, calls))
    with capsys.disabled():
        print(f"\n{len(table)} of {len(everything)} faults")  # noqa: T201


def _page(table: dict[tuple[str, int], str], calls: int) -> str:
    numbers = range(1, calls + 1)
    lines = [
        "# Faults",
        "",
        "Written by `FAULT_STRIDE=1 pytest reconciler_dagster_tests/crash/test_faults.py`.",
        "",
        f"One run with pending work of every kind makes {calls} calls. Each fault struck once at",
        "each call. A cell says how many further runs it took until both sides, the baseline, the",
        "conflict log and the quarantine were as after an undisturbed run: 0 means that the run",
        "itself coped. No edit was lost in any. `audit`: Airtable said nothing of changed records",
        "and the answer looked whole; a delta cannot know, the rolling audit finds it. `–`: there",
        "is no page whose iterator could be lost.",
        "",
        "| Fault | " + " | ".join(map(str, numbers)) + " |",
        "|---|" + "---|" * calls,
    ]
    for name in FAULTS:
        lines.append(f"| {name} | " + " | ".join(table[name, n] for n in numbers) + " |")
    return "\n".join(lines) + "\n"
