"""kill -9 before and after every external effect of a busy run, in a real process.

By default every few points are tried; CRASH_STRIDE=1 tries them all.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from reconciler_dagster_tests.crash.busy import busy_copies
from reconciler_dagster_tests.crash.nursery import Nursery
from reconciler_dagster_tests.model.invariants import crash_equivalence

STRIDE = int(os.environ.get("CRASH_STRIDE", "9"))


@pytest.mark.usefixtures("migrated_template")
def test_killed_anywhere_and_run_again_ends_as_if_nothing_had_happened(
    postgres_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with busy_copies(postgres_server, "busy", 40) as copies, Nursery() as nursery:
        sandbox = copies.busy.sandbox
        environment = {
            "AIRTABLE_API_KEY": sandbox.token,
            "AIRTABLE_ENDPOINT_URL": sandbox.url,
        }

        def ended(number: int, kill: str) -> tuple[int, int, dict[str, Any]]:
            name = f"crash_{number}"
            case = copies.copy(name)
            url = case.settings.require_database_url()
            status, count = nursery.run(**environment, DATABASE_URL=url, RECONCILER_TEST_KILL=kill)
            return status, count, copies.settle(case, name)

        status, effects, expected = ended(0, "")
        assert (status, expected["open"], expected["unsettled"]) == (0, 0, 0)
        assert expected["lost"]
        assert expected["held"]
        points = [f"{m} {n}" for n in range(1, effects + 1) for m in ("before", "after")]
        tried = points[::STRIDE]
        for number, point in enumerate(tried, start=1):
            status, count, state = ended(number, point)
            assert status == -signal.SIGKILL, f"{point} of {effects}: only {count} this time"
            try:
                crash_equivalence(state, expected)
            except AssertionError as error:
                raise AssertionError(f"killed {point} of {effects}: {error}") from None
    with capsys.disabled():
        print(f"\nkilled at {len(tried)} of {len(points)} points")  # noqa: T201
