"""A run that is cut off from Postgres for longer than its lease, in a real process, and then is not
any more: another run has taken the client over meanwhile, and there are never two who write.

By default a few points are tried; CUT_STRIDE=1 tries them all.
"""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from typing import Any

import pytest

from reconciler_dagster_tests.cable import Cable
from reconciler_dagster_tests.crash.busy import Copies, busy_copies
from reconciler_dagster_tests.crash.nursery import Nursery
from reconciler_dagster_tests.crash.overtaken import environment_of, overtake, run_undisturbed
from reconciler_dagster_tests.world import World

STRIDE = int(os.environ.get("CUT_STRIDE", "17"))


@pytest.mark.usefixtures("migrated_template")
@pytest.mark.parametrize("late", [True, False], ids=["then told late", "then reset"])
def test_a_run_that_was_cut_off_beyond_its_lease_writes_nothing_more(
    postgres_server: Any, capsys: pytest.CaptureFixture[str], late: bool
) -> None:
    with (
        busy_copies(postgres_server, f"cut_off_{late}".lower(), 40) as copies,
        Nursery() as nursery,
    ):
        environment = environment_of(copies, 3, RECONCILER_TEST_CUT="")
        whole = run_undisturbed(copies, nursery, environment, "crash_not_cut_off")
        effects = whole.effects
        points = list(range(6, 2 * (effects - 2)))
        tried = points[::STRIDE]
        for point in tried:
            with ExitStack() as held:
                case, cable = _cut(held, copies, nursery, environment, point)
                run_id = case.value("SELECT run_id FROM reconciler.lease")
                assert run_id.startswith("run ")
                # What was open on the server has been ended by then.
                overtaken = overtake(case, run_id)
                cable.mend(late=late)
                status, _ = nursery.ended()
            assert status == 1, point  # its lease was lost, or its connection
            overtaken.require_no_more(point)
            writers = case.sql("SELECT run_id FROM reconciler.history ORDER BY id")
            in_turn = [writer for writer, _ in itertools.groupby(writers)]
            assert len(in_turn) == len(set(in_turn)), point
            whole.require_same_end(
                copies, case, _name(point), f"cut off at {point} of {2 * effects}"
            )
    with capsys.disabled():
        print(f"\ncut off at {len(tried)} of {len(points)} points")  # noqa: T201


def _cut(
    held: ExitStack,
    copies: Copies,
    nursery: Nursery,
    environment: dict[str, str],
    point: int,
) -> tuple[World, Cable]:
    """Begin a run over a copy, and cut it off at a point. On a busy machine its lease may end
    before that, and the run with it: then another one begins, with a longer lease.
    """
    for seconds in (3, 30, 300):
        case = copies.copy(_name(point))
        cable = held.enter_context(Cable(case.settings.require_database_url()))
        more = {
            "RECONCILER_TEST_CUT": f"{point} {cable.cutter}",
            "RECONCILER_LEASE_SECONDS": str(seconds),
        }
        nursery.start(**environment | more, DATABASE_URL=cable.url)
        while not cable.was_cut.wait(0.1) and not nursery.has_ended():
            pass
        if cable.was_cut.is_set():
            return case, cable
        assert nursery.ended() == (1, 0), point
        case.engine.dispose()
        copies.server.drop_database(_name(point))
    raise AssertionError(f"no run got as far as {point}")


def _name(point: int) -> str:
    return f"crash_cut_off_{point}"
