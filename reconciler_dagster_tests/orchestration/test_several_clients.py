"""Runs over several clients, and checks that speak for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from reconciler_dagster.core.windows import month_of, months_until
from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration import resources
from reconciler_dagster.orchestration.ahead import Choice, begin
from reconciler_dagster.orchestration.assets import RECONCILED_LEADS
from reconciler_dagster.orchestration.execute import audit_clients, sync_clients
from reconciler_dagster.orchestration.failures import by_client
from reconciler_dagster.orchestration.great_sync import sync_windows
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.reconciled_windows import RECONCILED_WINDOWS
from reconciler_dagster.orchestration.windows import WindowConfig
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests.orchestration.conftest import Told, latest_checks, point_at
from reconciler_dagster_tests.world import World, world

BASES = ("appAcme0000000000", "appBeta0000000000")
NOWHERE = "appNone0000000000"


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(portal_db, leads=60, base_ids=BASES) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        yield here


def add_client(acme: World, name: str, base_id: str) -> Client:
    acme.sql(
        "INSERT INTO clients (company_name, airtable_base_id) VALUES (:name, :base)",
        name=name,
        base=base_id,
    )
    acme.adopt()
    with acme.engine.connect() as connection:
        return next(c for c in active_clients(connection) if c.name == name)


@pytest.fixture
def beta(acme: World) -> Client:
    return add_client(acme, "Beta", BASES[1])


def months_with_leads(acme: World) -> list[str]:
    """All that there is to do, and no more: every month costs a few events."""
    records = [r for base in BASES for r in acme.sandbox.on(base).records().values()]
    first = min(datetime.fromisoformat(record["createdTime"]) for record in records)
    return [m for m in months_until(datetime.now(UTC)) if m >= month_of(first)]


def windows_of(
    acme: World,
    instance: dg.DagsterInstance,
    clients: list[Client],
    config: WindowConfig | None = None,
) -> dg.ExecuteInProcessResult:
    """One run over every month of some clients that has leads, as a backfill makes it."""
    ensure_partitions(instance, clients)
    months = months_with_leads(acme)
    return defs.resolve_job_def("great_sync").execute_in_process(
        instance=instance,
        run_config=dg.RunConfig(
            ops={"window_change_set": config or WindowConfig()},
            loggers={"console": {"config": {"log_level": "CRITICAL"}}},
        ),
        tags={
            "dagster/asset_partition_range_start": f"{clients[0].id}|{months[0]}",
            "dagster/asset_partition_range_end": f"{clients[-1].id}|{months[-1]}",
        },
        raise_on_error=False,
    )


def leads_of(acme: World, client: Client) -> int:
    return int(acme.value("SELECT count(*) FROM leads WHERE client_id = :id", id=client.id))


def message_of(acme: World, client: Client) -> str | None:
    return acme.value(  # type: ignore[no-any-return]
        "SELECT message FROM reconciler.run_summary WHERE client_id = :id "
        "ORDER BY started_at DESC LIMIT 1",
        id=client.id,
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed: a failure in words, with no other error behind it."""
    (event,) = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data
    assert data.user_failure_data is not None, data.error
    assert data.error is not None
    assert data.error.cause is None
    return str(data.user_failure_data.description)


def test_a_run_takes_several_clients(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    result = windows_of(acme, instance, [acme.client, beta])
    assert result.success
    assert (leads_of(acme, acme.client), leads_of(acme, beta)) == (60, 60)
    partitions = by_client(sorted(instance.get_materialized_partitions(RECONCILED_WINDOWS)))
    expected = months_with_leads(acme)
    assert partitions == {acme.client.id: expected, beta.id: expected}
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["reconciler/client"] == "Acme, Beta"
    assert run.tags["reconciler/writes"] == "120 in, 0 out"
    event = instance.get_latest_materialization_event(RECONCILED_WINDOWS)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["client"].value in ("Acme", "Beta")


def test_a_client_that_fails_does_not_keep_the_others_from_being_done(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    aardvark = add_client(acme, "Aardvark", NOWHERE)
    result = windows_of(acme, instance, [aardvark, acme.client, beta])
    assert not result.success
    reason = failure_of(result)
    assert reason.startswith(f"Aardvark: Base {NOWHERE} cannot be read with this token")
    assert (leads_of(acme, acme.client), leads_of(acme, beta)) == (60, 60)
    done = by_client(sorted(instance.get_materialized_partitions(RECONCILED_WINDOWS)))
    assert set(done) == {acme.client.id, beta.id}
    assert "cannot be read" in (message_of(acme, aardvark) or "")
    assert message_of(acme, beta) is None


def test_the_brake_holds_the_windows_of_its_client_alone(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    assert windows_of(acme, instance, [acme.client, beta]).success
    for base_id in BASES:
        base = acme.sandbox.on(base_id)
        base.edit_many({r: {"Notes": "a note that stays"} for r in base.records()})
    assert windows_of(acme, instance, [acme.client, beta]).success
    acme.sql("UPDATE leads SET notes = NULL WHERE client_id = :id", id=acme.client.id)
    acme.sql("UPDATE leads SET title = 'By the portal' WHERE client_id = :id", id=beta.id)
    acme.sql("UPDATE leads SET notes = 'new' WHERE client_id = :id", id=beta.id)
    result = windows_of(acme, instance, [acme.client, beta])
    assert "Acme: The run was stopped. It would empty cells" in failure_of(result)
    assert "Acme: The run was stopped" in (latest_checks(instance)["window_clear_brake"] or "")
    assert {c["fields"].get("Notes") for c in acme.sandbox.records().values()} == {
        "a note that stays"
    }
    of_beta = acme.sandbox.on(BASES[1]).records().values()
    assert {c["fields"].get("Notes") for c in of_beta} == {"new"}


def test_a_run_over_a_client_that_is_not_to_be_had_says_so(
    acme: World, beta: Client, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.sql("UPDATE clients SET is_active = false WHERE id = :id", id=beta.id)
    ensure_partitions(instance, [beta])
    instance.add_dynamic_partitions("client", ["other"])
    for job, key in (("sync", beta.id), ("audit", beta.id), ("sync", "other")):
        result = defs.resolve_job_def(job).execute_in_process(
            partition_key=key, instance=instance, raise_on_error=False
        )
        reason = failure_of(result)
        assert ("There is no active client" in reason) == (key == beta.id)
        assert ("is no client id" in reason) == (key == "other")
    assert "There is no active client" in failure_of(windows_of(acme, instance, [beta]))
    told = acme.sql("SELECT purpose, scope, state FROM reconciler.run_summary ORDER BY started_at")
    assert [row[0] for row in told] == ["delta", "audit", "great_sync"]
    assert {row[2] for row in told} == {"failed"}

    monkeypatch.setattr(resources, "RUN_PATIENCE_SECONDS", 0.1)
    with client_lock(acme.engine, acme.client.id, "another run", 1):
        (busy,) = sync_clients(acme.settings, instance, None, SyncConfig())
    assert busy.attention == [
        f"Run another run is writing for client {acme.client.id}: try again when it is done."
    ]
    assert message_of(acme, acme.client) == busy.attention[0]


def test_the_checks_of_one_client_s_run_speak_for_every_client(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    windows_of(acme, instance, [acme.client, beta])
    base = acme.sandbox.on(BASES[0])
    for record_id in sorted(base.records())[::3]:
        base.delete(record_id)
    for _ in range(2):
        list(audit_clients(acme.settings, instance, acme.client.id))
        list(audit_clients(acme.settings, instance, beta.id))
    red = latest_checks(instance)
    for check in ("audit_deletions", "audit_attention"):
        assert "Acme: 20 deletions wait for approval" in (red[check] or ""), check
        assert "Beta" not in (red[check] or "")
    assert windows_of(acme, instance, [beta]).success
    assert "Acme: 20 deletions wait" in (latest_checks(instance)["window_deletions"] or "")


def test_a_month_s_run_leaves_red_what_another_month_s_found(
    acme: World, instance: dg.DagsterInstance
) -> None:
    """Until all of it is looked at again."""
    assert windows_of(acme, instance, [acme.client]).success
    acme.sandbox.fault("short_listing", keep=20, method="GET", times=None)
    windows_of(acme, instance, [acme.client])
    acme.sandbox.clear_faults()

    def month(first: str, last: str) -> str | None:
        defs.resolve_job_def("great_sync").execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": f"{acme.client.id}|{first}",
                "dagster/asset_partition_range_end": f"{acme.client.id}|{last}",
            },
        )
        return latest_checks(instance)["window_deletions"]

    assert "was cut short" in (month("2022-01-01", "2022-06-01") or "")
    assert month("2022-07-01", months_until(datetime.now(UTC))[-1]) is None


def test_unanswered_writes_of_one_client_stay_red_while_another_s_delta_runs(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    list(sync_clients(acme.settings, instance, None, SyncConfig()))
    acme.sql(
        "UPDATE reconciler.run_summary SET findings = findings || '{\"unanswered\": 3}' "
        "WHERE client_id = :id",
        id=acme.client.id,
    )
    list(sync_clients(acme.settings, instance, beta.id, SyncConfig()))
    assert latest_checks(instance)["answered"] == (
        "Acme: Airtable did not answer 3 writes; the next run finds out whether they arrived."
    )
    list(sync_clients(acme.settings, instance, acme.client.id, SyncConfig()))
    assert latest_checks(instance)["answered"] is None


def test_a_check_is_asked_by_itself(acme: World, instance: dg.DagsterInstance) -> None:
    """As a person does on its page, though two of them share a step in a run."""
    list(sync_clients(acme.settings, instance, None, SyncConfig()))
    acme.sql("UPDATE reconciler.run_summary SET findings = findings || '{\"unanswered\": 3}'")
    job = defs.resolve_implicit_global_asset_job_def()
    for name in ("quarantine", "answered"):
        assert latest_checks(instance)["answered"] is None
        alone = job.get_subset(asset_check_selection={dg.AssetCheckKey(RECONCILED_LEADS, name)})
        result = alone.execute_in_process(instance=instance)
        assert [one.check_name for one in result.get_asset_check_evaluations()] == [name]
    assert (latest_checks(instance)["answered"] or "").startswith("Acme: Airtable did not answer")


def test_one_client_s_trouble_leaves_the_others_of_a_great_sync_alone(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    """Postgres refuses the middle one of three; a base that is not there costs a call."""
    aardvark = add_client(acme, "Aardvark", NOWHERE)
    acme.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.client_id = '{acme.client.id}' THEN RAISE 'the disk is full'; END IF; "
        "RETURN NEW; END $$"
    )
    acme.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON reconciler.great_sync "
        "FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    results = sync_windows(instance, begin(acme.settings, None, Choice()), Told())
    nowhere, refused, fine = results
    assert [r.client.name for r in (nowhere, refused, fine)] == ["Aardvark", "Acme", "Beta"]
    assert nowhere.misconfigured
    assert nowhere.counts.airtable_calls == 1
    assert "the disk is full" in refused.attention[0]
    assert refused.counts.airtable_calls == 1
    assert (fine.attention, fine.counts.local_writes) == ([], 60)
    assert aardvark.id == nowhere.client.id


def test_drift_and_age_are_told_of_every_client(
    acme: World, beta: Client, instance: dg.DagsterInstance
) -> None:
    windows_of(acme, instance, [acme.client, beta])
    acme.sql(
        'UPDATE reconciler.baseline SET fields = fields || \'{"company": "Nobody"}\' '
        "WHERE client_id = :id",
        id=acme.client.id,
    )
    acme.sql(
        "UPDATE reconciler.baseline SET verified_at = clock_timestamp() - interval '3 hours' "
        "WHERE client_id = :id",
        id=beta.id,
    )
    acme.settings.audit_calls_per_hour = 20
    acme.sql("UPDATE reconciler.call_log SET purpose = 'audit', calls = 1000")
    list(audit_clients(acme.settings, instance, acme.client.id))
    list(audit_clients(acme.settings, instance, beta.id))
    drift = latest_checks(instance)["drift"] or ""
    assert drift.startswith("Acme: ")
    assert "company" in drift
    run = max(instance.get_run_records(), key=lambda record: record.create_timestamp)
    (fresh,) = [
        entry.dagster_event.event_specific_data
        for entry in instance.all_logs(
            run.dagster_run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        if entry.dagster_event
        and entry.dagster_event.event_specific_data.check_name == "proof_is_fresh"  # type: ignore[union-attr]
    ]
    metadata = fresh.metadata  # type: ignore[union-attr]
    age = metadata["hours since the stalest lead was verified: Beta"]
    assert isinstance(age, dg.FloatMetadataValue)
    assert 2.9 < (age.value or 0) < 3.2
    assert fresh.passed  # type: ignore[union-attr]


def test_leads_that_nobody_ever_verified_turn_the_proof_red_in_time(
    acme: World, instance: dg.DagsterInstance
) -> None:
    windows_of(acme, instance, [acme.client])
    acme.sql(
        "UPDATE reconciler.baseline SET verified_at = NULL WHERE created_time = ("
        "SELECT min(created_time) FROM reconciler.baseline)"
    )
    acme.sql("UPDATE reconciler.call_log SET purpose = 'audit', calls = 1000")
    list(audit_clients(acme.settings, instance, None))
    assert latest_checks(instance)["proof_is_fresh"] is None  # the client is new
    acme.sql("UPDATE reconciler.run_summary SET finished_at = finished_at - interval '2 days'")
    list(audit_clients(acme.settings, instance, None))
    assert "never verified in full" in (latest_checks(instance)["proof_is_fresh"] or "")
