"""With many clients, runs start where a glance shows something, and nobody is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration import glance
from reconciler_dagster.orchestration.execute import sync_clients
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.partitions import PARTITION_TAG
from reconciler_dagster.orchestration.tick import Tick
from reconciler_dagster.postgres import glances as glances_kept
from reconciler_dagster.postgres import runs
from reconciler_dagster.postgres.clients import Client
from reconciler_dagster.postgres.glances import Glance
from reconciler_dagster_tests.adopted import ADOPT
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.world import World, world

BASES = ("appAcme0000000000", "appBeta0000000000", "appGamma000000000")
MOMENT = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = 60.0


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The first of three clients."""
    with world(portal_db, leads=5, base_ids=BASES) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        monkeypatch.setenv("RECONCILER_GLANCE_ABOVE", "2")
        for name, base_id in zip(("Beta", "Gamma"), BASES[1:], strict=True):
            here.sql(
                "INSERT INTO clients (company_name, airtable_base_id) VALUES (:name, :base)",
                name=name,
                base=base_id,
            )
        here.sql(ADOPT)
        yield here


@pytest.fixture
def quiet(acme: World, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> World:
    """Nothing has happened at any of them for a while, and it is nobody's turn to get a run."""
    monkeypatch.setattr(glance, "_whose_turn", lambda tick: set())
    kept_instance.add_run(dg.DagsterRun("glance", status=dg.DagsterRunStatus.SUCCESS))
    for _ in range(2):
        synced(acme, kept_instance)
        acme.sandbox.advance(LATER)
    return acme


def synced(acme: World, instance: dg.DagsterInstance) -> None:
    for result in sync_clients(acme.settings, instance, None, SyncConfig()):
        assert not result.attention, result.attention


def glances(
    instance: dg.DagsterInstance, moment: datetime = MOMENT, **tags: str
) -> dg.ExecuteInProcessResult:
    """The run, as the schedule starts it."""
    return defs.resolve_job_def("glance").execute_in_process(
        instance=instance,
        run_config=dg.RunConfig(
            ops={"glance_op": glance.GlanceConfig(moment=moment.isoformat())},
            loggers={"console": {"config": {"log_level": "CRITICAL"}}},
        ),
        tags=tags,
    )


def said(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The figures of the run."""
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = event.step_output_data.metadata
    return {name: value.value for name, value in metadata.items()}


def submitted(acme: World, instance: dg.DagsterInstance) -> list[str]:
    """The clients whose runs are in the queue, by name."""
    queued = dg.RunsFilter(job_name="sync", statuses=[dg.DagsterRunStatus.QUEUED])
    names = dict(acme.sql("SELECT id::text, company_name FROM clients"))
    return sorted(names[run.tags[PARTITION_TAG]] for run in instance.get_runs(queued))


def summaries(acme: World, run_id: str) -> list[runs.Summary]:
    with acme.engine.connect() as connection:
        return runs.summaries(connection, run_id)


def tick(name: str, instance: dg.DagsterInstance) -> Any:
    context = dg.build_schedule_context(
        instance=instance,
        repository_def=defs.get_repository_def(),
        scheduled_execution_time=MOMENT,
    )
    return defs.get_repository_def().get_schedule_def(name).evaluate_tick(context)


def test_no_run_starts_for_who_has_nothing_and_each_counts_as_synced(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    quiet.sql("UPDATE clients SET last_sync_at = NULL")
    quiet.sandbox.reset_calls()
    result = glances(kept_instance)
    figures = {"clients": 3, "nothing to do": 3, "runs started": 0, "airtable calls": 3}
    assert said(result) == figures
    assert submitted(quiet, kept_instance) == []
    assert len(quiet.sandbox.calls()) == 3
    ended = summaries(quiet, result.run_id)
    assert {(s.purpose, s.scope, s.state) for s in ended} == {("delta", "glance", "succeeded")}
    assert [s.counts["airtable_calls"] for s in ended] == [1, 1, 1]
    assert quiet.value("SELECT count(*) FROM clients WHERE last_sync_at IS NULL") == 0
    assert said(glances(kept_instance)) == figures, "and so again and again"


def test_runs_start_for_the_others_alone(quiet: World, kept_instance: dg.DagsterInstance) -> None:
    quiet.sandbox.edit(min(quiet.sandbox.records()), {"Company": "Theirs"})
    quiet.sql(
        "UPDATE leads SET hrq_status = 'Archive' WHERE client_id = "
        "(SELECT id FROM clients WHERE company_name = 'Gamma')"
    )
    result = glances(kept_instance)
    assert submitted(quiet, kept_instance) == ["Acme", "Gamma"]
    names = dict(quiet.sql("SELECT id::text, company_name FROM clients"))
    assert [names[s.client_id] for s in summaries(quiet, result.run_id)] == ["Beta"]
    again = glances(kept_instance)
    assert submitted(quiet, kept_instance) == ["Acme", "Gamma"], "whose run is to come has one"
    assert said(again)["runs started"] == 0


def test_a_client_gets_its_run_whose_last_one_was_not_well_or_that_was_never_met(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    quiet.sql(
        "UPDATE reconciler.run_summary SET state = 'failed' WHERE client_id = "
        "(SELECT id FROM clients WHERE company_name = 'Beta')"
    )
    quiet.sql(
        "DELETE FROM reconciler.run_summary WHERE client_id = "
        "(SELECT id FROM clients WHERE company_name = 'Gamma')"
    )
    glances(kept_instance)
    assert submitted(quiet, kept_instance) == ["Beta", "Gamma"]


def test_a_client_gets_its_run_whose_last_one_left_something_for_a_person(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    quiet.sql(
        'UPDATE reconciler.run_summary SET findings = \'{"stopped": ["a field is stopped"]}\' '
        "WHERE client_id = (SELECT id FROM clients WHERE company_name = 'Beta')"
    )
    glances(kept_instance)
    assert submitted(quiet, kept_instance) == ["Beta"]


def test_each_gets_a_run_every_six_hours_and_somebody_does_at_each_tick() -> None:
    for number in (1, 3, glance.RUN_ONE_IN, 100):
        clients = [Client(str(n), f"Client {n}", "app") for n in range(number)]
        moments = [MOMENT + n * timedelta(minutes=15) for n in range(glance.RUN_ONE_IN)]
        turns = [glance._whose_turn(Tick(at, clients, clients, [])) for at in moments]
        assert all(turns)
        assert set().union(*turns) == {client.id for client in clients}
        assert number < 100 or len(max(turns, key=len)) <= 5


def test_whose_turn_it_is_gets_a_run_without_a_glance(
    quiet: World, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "_whose_turn", lambda tick: {tick.clients[1].id})
    assert said(glances(kept_instance))["airtable calls"] == 2
    assert submitted(quiet, kept_instance) == ["Beta"]


def test_where_airtable_refuses_the_client_s_run_starts_and_says_why(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    quiet.sql(
        "UPDATE clients SET airtable_base_id = 'appNone0000000000' WHERE company_name = 'Beta'"
    )
    quiet.sql(
        "UPDATE reconciler.table_binding SET base_id = 'appNone0000000000' WHERE base_id = :b",
        b=BASES[1],
    )
    result = glances(kept_instance)
    assert submitted(quiet, kept_instance) == ["Beta"]
    logged = [e.user_message for e in kept_instance.all_logs(result.run_id)]
    assert any(m.startswith("Beta takes a run: Airtable answered 403") for m in logged)


def test_a_run_that_glances_executes_again_submits_nothing_twice(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    quiet.sandbox.edit(min(quiet.sandbox.records()), {"Company": "Theirs"})
    glances(kept_instance)
    (run,) = kept_instance.get_runs(
        dg.RunsFilter(job_name="sync", tags={glance.GLANCE_TAG: MOMENT.isoformat()})
    )
    kept_instance.report_run_canceled(run)
    assert said(glances(kept_instance))["runs started"] == 0
    assert said(glances(kept_instance, MOMENT + timedelta(days=1)))["runs started"] == 1


def test_the_schedule_leaves_it_to_the_glances_once_they_have_come_to_a_good_end(
    acme: World, kept_instance: dg.DagsterInstance
) -> None:
    synced(acme, kept_instance)
    (one,) = tick("glance_every_15_minutes", kept_instance).run_requests
    assert one.run_config["ops"]["glance_op"]["config"]["moment"] == MOMENT.isoformat()
    kept_instance.add_run(dg.DagsterRun("glance", status=dg.DagsterRunStatus.STARTED))
    assert len(tick("every_15_minutes", kept_instance).run_requests) == 3, "none has ended well"
    assert said(glances(kept_instance))["runs started"] == 0, "the schedule has started them"
    assert submitted(acme, kept_instance) == []
    each = tick("every_15_minutes", kept_instance)
    assert (each.run_requests, "RECONCILER_GLANCE_ABOVE" in each.skip_message) == ([], True)
    glances(kept_instance)
    assert submitted(acme, kept_instance) != []


def test_where_glances_fail_the_schedule_starts_the_runs(
    quiet: World, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("glances are broken")

    (well,) = kept_instance.get_runs(dg.RunsFilter(job_name="glance"))
    kept_instance.delete_run(well.run_id)
    monkeypatch.setattr(glance, "_sorted", fails)
    with pytest.raises(RuntimeError):
        glances(kept_instance)
    assert len(tick("every_15_minutes", kept_instance).run_requests) == 3


def test_glances_that_take_too_long_fail_and_the_next_ones_go_on(
    quiet: World, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as slow:
        slow.setattr(glance, "LONGEST_SECONDS", 0.0)
        slow.setattr(glance, "_glance", lambda *_: time.sleep(0.5))
        with pytest.raises(dg.Failure, match="3 clients of 3 could not be looked at"):
            glances(kept_instance)
    assert said(glances(kept_instance))["nothing to do"] == 3


def test_who_has_missed_a_turn_gets_a_run(quiet: World, kept_instance: dg.DagsterInstance) -> None:
    quiet.sql(
        "UPDATE reconciler.run_summary SET finished_at = finished_at - interval '7 hours' "
        "WHERE client_id = (SELECT id FROM clients WHERE company_name = 'Beta')"
    )
    glances(kept_instance)
    assert submitted(quiet, kept_instance) == ["Beta"]


def test_of_several_clients_nobody_waits_for_whom_the_portal_holds(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    quiet.sql("UPDATE clients SET last_sync_at = NULL")
    with quiet.engine.begin() as portal:
        portal.execute(text("SELECT FROM clients WHERE company_name = 'Beta' FOR UPDATE"))
        assert said(glances(kept_instance))["nothing to do"] == 3
    never = quiet.sql("SELECT company_name FROM clients WHERE last_sync_at IS NULL")
    assert [row[0] for row in never] == ["Beta"], "only the portal's own column waits"


def test_a_run_that_has_ended_meanwhile_knows_better(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    with quiet.engine.begin() as connection:
        late = Glance(quiet.client.id, 3600.0, {}, ["leads"])
        glances_kept.note(connection, "late", late)
    assert summaries(quiet, "late") == []


def test_where_no_sync_is_due_the_first_is_looked_at(
    quiet: World, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run does."""
    monkeypatch.setattr(glance, "_is_due", lambda session: False)
    quiet.sandbox.edit(min(quiet.sandbox.records()), {"Company": "Theirs"})
    assert said(glances(kept_instance))["nothing to do"] == 2
    assert submitted(quiet, kept_instance) == ["Acme"]


def test_a_slower_sync_is_looked_at_once_in_its_time(
    quiet: World, kept_instance: dg.DagsterInstance
) -> None:
    hourly = quiet.session()
    hourly.map = replace(hourly.map, every=timedelta(hours=1))
    assert not glance._is_due(hourly), "a run has listed it"
    quiet.sql(
        "UPDATE reconciler.cursor SET moved_at = moved_at - interval '2 hours', "
        "modified_since = modified_since - interval '2 hours'"
    )
    assert glance._is_due(hourly)
    glances(kept_instance)
    assert not glance._is_due(hourly), "a glance has"
    quiet.sql("UPDATE reconciler.run_summary SET finished_at = finished_at - interval '1 hour'")
    assert glance._is_due(hourly)


def test_with_few_clients_each_has_a_run_of_its_own(
    quiet: World, kept_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    glances(kept_instance)
    monkeypatch.setenv("RECONCILER_GLANCE_ABOVE", "3")
    assert len(tick("every_15_minutes", kept_instance).run_requests) == 3
    none = tick("glance_every_15_minutes", kept_instance)
    assert none.run_requests == []
    assert "3 clients" in none.skip_message


def test_glances_do_not_come_twice_at_once(quiet: World, kept_instance: dg.DagsterInstance) -> None:
    kept_instance.add_run(dg.DagsterRun("glance", status=dg.DagsterRunStatus.STARTED))
    none = tick("glance_every_15_minutes", kept_instance)
    assert (none.run_requests, "last time" in none.skip_message) == ([], True)
