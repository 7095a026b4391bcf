"""Dagster's own storage, and the portal's, behind one PgBouncer in transaction mode."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dagster as dg
import pytest

from reconciler_dagster.config import project_file
from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration.assets import run_config
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.pooler import Pooler, crowded
from reconciler_dagster_tests.world import World, world


def run(acme: World, number: int) -> bool:
    """A run as a process of its own would do it: with an instance of its own."""
    with dg.DagsterInstance.get() as own:
        result = defs.resolve_job_def("sync").execute_in_process(
            run_config=run_config(SyncConfig(), log_level="CRITICAL"),
            partition_key=acme.client.id,
            instance=own,
            tags={"number": str(number)},
        )
    return result.success


def test_an_instance_behind_a_pooler_works(
    postgres_server: PostgresServer, portal_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_server.create_database("pooled_dagster")
    with (
        Pooler(postgres_server) as pooler,
        crowded(pooler.url("pooled_dagster")),
        tempfile.TemporaryDirectory() as home,
    ):
        portal = pooler.through(portal_db)
        (Path(home) / "dagster.yaml").write_text(project_file("dagster.yaml").read_text())
        monkeypatch.setenv("DAGSTER_HOME", home)
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", pooler.url("pooled_dagster"))
        with world(portal, leads=20) as acme, dg.DagsterInstance.get() as instance:
            point_at(monkeypatch, portal, acme.sandbox)
            instance.add_dynamic_partitions("client", [acme.client.id])
            instance.optimize_for_webserver(5000, 3600, 20)  # as dagster-webserver does
            # One by one: Dagster sets up its logging for each, which deadlocks in threads. Others
            # crowd the pool meanwhile.
            assert all(run(acme, number) for number in range(4))
            records = instance.get_run_records()
            assert sorted(record.dagster_run.tags["number"] for record in records) == list("0123")
            for record in records:
                entries = instance.all_logs(
                    record.dagster_run.run_id, dg.DagsterEventType.STEP_SUCCESS
                )
                assert len(entries) >= 4
            assert instance.get_latest_materialization_event(dg.AssetKey("reconciled_leads"))
            acme.assert_converged()
            acme.engine.dispose()
    postgres_server.drop_database("pooled_dagster")
