"""Nothing starts by itself but where it is meant to, and two deployments notice each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration.automation import close_dead_runs
from reconciler_dagster.orchestration.environments import this_deployment
from reconciler_dagster.orchestration.seen import OURS
from reconciler_dagster.postgres import deployments
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.world import world

STATES = """
import json
from reconciler_dagster.definitions import defs
repository = defs.get_repository_def()
found = [*repository.schedule_defs, *repository.sensor_defs]
print(json.dumps({each.name: each.default_status.value for each in found}))
"""


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({}, "STOPPED"),
        ({"RECONCILER_ENVIRONMENT": ""}, "STOPPED"),
        ({"RECONCILER_ENVIRONMENT": "staging"}, "STOPPED"),
        ({"RECONCILER_ENVIRONMENT": "preproduction"}, "STOPPED"),
        ({"RECONCILER_ENVIRONMENT": " Production\r\n"}, "RUNNING"),
        # What `reconciler up` sets for a demo in which nothing is real.
        ({"RECONCILER_ENVIRONMENT": "demo"}, "RUNNING"),
    ],
)
def test_schedules_and_sensors_run_only_where_it_is_said(
    environment: dict[str, str], status: str
) -> None:
    """Real credentials change nothing."""
    real = {"AIRTABLE_API_KEY": "patReal0000000000", "DATABASE_URL": "postgresql://u:p@host/db"}
    done = subprocess.run(
        [sys.executable, "-c", STATES],
        env=os.environ | real | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == OURS
    assert set(found.values()) == {status}


def test_the_listener_does_not_start_where_nothing_may(portal_db: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reconciler_dagster.orchestration.listener"],
        env=os.environ | {"DATABASE_URL": portal_db, "RECONCILER_ENVIRONMENT": "staging"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "RECONCILER_ENVIRONMENT is staging" in done.stderr


def test_two_deployments_on_one_database_notice_each_other(
    portal_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(portal_db, leads=3) as acme:
        point_at(monkeypatch, portal_db, acme.sandbox)
        with dg.DagsterInstance.ephemeral() as one, dg.DagsterInstance.ephemeral() as other:
            for _ in range(2):
                close_dead_runs(dg.build_sensor_context(instance=one))
            with acme.engine.begin() as connection:
                assert len(deployments.seen_lately(connection)) == 1
                assert deployments.crowd(connection) is None

            monkeypatch.setenv("RECONCILER_ENVIRONMENT", "staging")
            monkeypatch.setenv("RECONCILER_DAGSTER_URL", "http://staging.example:3000")
            close_dead_runs(dg.build_sensor_context(instance=other))
            with acme.engine.begin() as connection:
                crowd = deployments.crowd(connection)
            assert crowd is not None
            assert "2 deployments" in crowd
            assert "staging on " in crowd
            assert "http://staging.example:3000" in crowd

            # Red in a run of either.
            from reconciler_dagster.orchestration.execute import sync_clients
            from reconciler_dagster.orchestration.ops import SyncConfig

            (result,) = sync_clients(Settings.load(), one, None, SyncConfig())
            assert crowd in result.attention

            # One that has gone is nobody any more.
            acme.sql(
                "UPDATE reconciler.deployment SET seen_at = seen_at - interval '1 hour' "
                "WHERE environment = 'staging'"
            )
            (result,) = sync_clients(Settings.load(), one, None, SyncConfig())
            assert result.attention == []


def test_a_deployment_is_known_again_after_a_restart(
    portal_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what its storage is, not its process or its host."""
    own = engine(portal_db)
    settings = Settings(database_url=portal_db)
    for host in ("first", "second"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, own.begin() as connection:
            deployments.beat(connection, this_deployment(instance, settings))
    with own.connect() as connection:
        hosts = connection.execute(text("SELECT host FROM reconciler.deployment")).scalars().all()
    assert hosts == ["second"]
    own.dispose()
