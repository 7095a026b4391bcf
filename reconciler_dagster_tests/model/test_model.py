"""The model test. `make model` runs it long; here it runs a few histories from a fixed seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import httpx
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from pydantic import SecretStr

from reconciler_dagster.engine import diff, rounds, send
from reconciler_dagster.portal.app import create_app
from reconciler_dagster.portal.auth import all_users
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.postgres import fights, lock
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.model import linked_tables
from reconciler_dagster_tests.model.cells import BASES, prepare
from reconciler_dagster_tests.model.machine import Histories
from reconciler_dagster_tests.portal.conftest import SECRET, serving
from reconciler_dagster_tests.world import world

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "12"))
SEED = int(os.environ.get("MODEL_SEED", "1"))
SHRINK = bool(os.environ.get("MODEL_SHRINK"))
STEPS = int(os.environ.get("MODEL_STEPS", "8"))


DEADLOCK = """
CREATE FUNCTION model_deadlock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END $$
"""


@pytest.fixture(scope="module")
def shared(
    postgres_server: PostgresServer, migrated_template: str
) -> Iterator[type[RuleBasedStateMachine]]:
    """The machine over one world for all histories; each begins by sweeping it."""
    url = postgres_server.create_database("model", template=migrated_template)
    with (
        world(url, leads=0, base_ids=BASES[:1]) as here,
        patch.object(lock, "LOCK_POLL_SECONDS", 0.02),
        patch.object(diff, "PART", 3),  # so that every history has runs of several parts
        patch.object(rounds, "HUNDRED", 2),  # each history chooses its own
        patch.object(send, "BATCH", 2),
        patch.object(fights, "FIGHT_RUNS", 1000),  # people here do the same thing again and again
    ):
        here.settings.retry_seconds, here.settings.lockout_seconds = 0.001, 0.01
        here.settings.portal_jwt_secret = SecretStr(SECRET)
        here.sql(DEADLOCK)
        prepare(here)
        linked_tables.prepare(here)
        here.sql("UPDATE users SET role = 'CLIENT_ADMIN', client_id = (SELECT id FROM clients)")
        app = create_app(here.settings, PortalSettings(rate_limit_per_minute=1e6))
        with here.engine.connect() as connection:
            people = all_users(connection)
        signed_in = {
            user.email: {"Authorization": f"Bearer {app.state.portal.tokens.mint(user)}"}
            for user in people
        }
        with serving(app) as address, httpx.Client(base_url=address, timeout=60) as portal:
            own = {"world": here, "portal": portal, "signed_in": signed_in, "shown": []}
            yield type("Histories", (Histories,), own)


def test_no_history_loses_anything(shared: type[RuleBasedStateMachine]) -> None:
    print(f"{HISTORIES} histories of {STEPS} steps from seed {SEED}")  # noqa: T201
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        seed(SEED)(shared),
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
    shown = shared.shown  # type: ignore[attr-defined]
    print(f"{len(shown)} glances, of which {sum(shown)} showed nothing")  # noqa: T201
    assert any(shown), "none has shown that there is nothing"
