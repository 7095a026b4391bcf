"""What starts runs and what cleans up after them, with a thousand clients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration.alive import warm_tag
from reconciler_dagster.orchestration.automation import close_dead_runs
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.processes import this_process
from reconciler_dagster_tests.adopted import ADOPT, add_clients

CLIENTS = 1000


@pytest.fixture
def portal(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("DATABASE_URL", portal_db)
    own = engine(portal_db)
    with own.begin() as connection:
        add_clients(connection, CLIENTS)
        connection.execute(text(ADOPT))
    yield own
    own.dispose()


def tick(name: str, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """Evaluated as the daemon has it evaluated, its look-ups of partitions included."""
    repository = defs.get_repository_def()
    context = dg.build_schedule_context(
        instance=instance,
        repository_def=repository,
        scheduled_execution_time=datetime(2026, 11, 24, 12, tzinfo=UTC),
    )
    return list(repository.get_schedule_def(name).evaluate_tick(context).run_requests or [])


@pytest.mark.parametrize("schedule", ["every_15_minutes", "every_hour"])
def test_a_tick_for_a_thousand_clients_looks_at_dagster_a_few_times(
    portal: Engine,
    kept_instance: dg.DagsterInstance,
    schedule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not once a client: over a network that takes longer than a tick may."""
    looked = []
    storage = type(kept_instance.event_log_storage)
    for name in ("has_dynamic_partition", "get_dynamic_partitions", "add_dynamic_partitions"):
        real = getattr(storage, name)

        def counted(*arguments: object, real: object = real, **more: object) -> object:
            looked.append(real)
            return real(*arguments, **more)  # type: ignore[operator]

        monkeypatch.setattr(storage, name, counted)
    requests = tick(schedule, kept_instance)
    assert len(requests) == CLIENTS
    assert {r.tags["dagster/partition"] for r in requests} == {r.partition_key for r in requests}
    assert set(kept_instance.get_dynamic_partitions("client")) == {
        r.partition_key for r in requests
    }
    assert len(looked) < 10


def test_where_edits_ring_a_client_that_was_just_synced_is_left_out(
    portal: Engine, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with portal.begin() as connection:
        for n, (state, ago) in enumerate(
            [("succeeded", "1 min"), ("succeeded", "6 min"), ("failed", "1 min")], start=1
        ):
            connection.execute(
                text(
                    "INSERT INTO reconciler.run_summary "
                    "(run_id, client_id, purpose, scope, state, started_at, finished_at) "
                    "SELECT 'run', id, 'manual', 'changed', :state, "
                    "clock_timestamp() - CAST(:ago AS interval), "
                    "clock_timestamp() - CAST(:ago AS interval) + interval '2 s' FROM clients "
                    "WHERE company_name = 'Client ' || :n"
                ),
                {"state": state, "ago": ago, "n": str(n)},
            )
    assert len(tick("every_15_minutes", kept_instance)) == CLIENTS
    monkeypatch.setenv("RECONCILER_ON_EDIT", "true")
    assert len(tick("every_15_minutes", kept_instance)) == CLIENTS - 1


def test_five_hundred_dead_runs_are_closed_in_one_tick(
    portal: Engine, instance: dg.DagsterInstance
) -> None:
    states = [dg.DagsterRunStatus.STARTED] + 500 * [dg.DagsterRunStatus.FAILURE]
    runs = [instance.add_run(dg.DagsterRun("sync", status=state)).run_id for state in states]
    alive, of_another_home = runs[0], str(uuid4())
    with portal.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope) "
                "SELECT r, id, 'delta', 'changed' FROM unnest(CAST(:runs AS text[])) "
                "WITH ORDINALITY AS runs (r, n) JOIN clients ON company_name = 'Client ' || n"
            ),
            {"runs": [*runs, of_another_home]},
        )
    close_dead_runs(dg.build_sensor_context(instance=instance))
    with portal.begin() as connection:
        left = connection.exec_driver_sql(
            "SELECT run_id FROM reconciler.run_summary WHERE state = 'started'"
        )
        assert set(left.scalars()) == {alive, of_another_home}


def test_a_run_whose_process_died_before_it_began_is_failed(
    portal: Engine, instance: dg.DagsterInstance
) -> None:
    """Run monitoring would give it two minutes."""
    job = defs.resolve_job_def("retry_quarantine")
    host, pid, started = this_process().rsplit(" ", 2)
    ids = [str(uuid4()) for _ in range(3)]
    there, gone, again = ids
    living, dead = f"{host} {pid} {started}", f"{host} {pid} 1.00"
    # The last one executes again what had died, and has its tags.
    tags = (warm_tag(there, living), warm_tag(gone, dead), warm_tag(gone, dead))
    for run_id, own in zip(ids, tags, strict=True):
        instance.create_run_for_job(
            job, run_id=run_id, tags=own, status=dg.DagsterRunStatus.STARTING
        )
    close_dead_runs(dg.build_sensor_context(instance=instance))
    states = [instance.get_run_by_id(run_id).status for run_id in (there, again, gone)]  # type: ignore[union-attr]
    assert states == [dg.DagsterRunStatus.STARTING] * 2 + [dg.DagsterRunStatus.FAILURE]
