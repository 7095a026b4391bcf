"""The model test. `make model` runs it long; here it runs a few histories from a fixed seed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from reconciler_dagster_tests.model.machine import Histories
from reconciler_dagster_tests.world import World, world

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "12"))
SEED = int(os.environ.get("MODEL_SEED", "1"))
SHRINK = bool(os.environ.get("MODEL_SHRINK"))
STEPS = int(os.environ.get("MODEL_STEPS", "8"))


@pytest.fixture(scope="module")
def shared(postgres_server: object, _migrated_template: str) -> Iterator[World]:
    """One world for all histories; each begins by sweeping it."""
    url = postgres_server.create_database("model", template=_migrated_template)  # type: ignore[attr-defined]
    with world(url, leads=0) as here:
        here.settings.retry_seconds, here.settings.lockout_seconds = 0.001, 0.01
        yield here


def test_no_history_loses_anything(shared: World) -> None:
    machine = type("Histories", (Histories,), {"world": shared})
    print(f"{HISTORIES} histories of {STEPS} steps from seed {SEED}")  # noqa: T201
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        seed(SEED)(machine),
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
            report_multiple_bugs=False,
            print_blob=True,
        ),
    )
