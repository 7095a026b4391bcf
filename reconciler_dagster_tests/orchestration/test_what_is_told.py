"""What people see of a Great Sync, an audit and a delta: partitions, checks, progress, words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from click.testing import CliRunner

from reconciler_dagster.cli import main
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.windows import months_until
from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration.ahead import Choice
from reconciler_dagster.orchestration.assets import RECONCILED_LEADS
from reconciler_dagster.orchestration.execute import audit_clients, sync_clients
from reconciler_dagster.orchestration.failures import by_client
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.orchestration.partitions import ensure_partitions
from reconciler_dagster.orchestration.reconciled_windows import RECONCILED_WINDOWS
from reconciler_dagster.orchestration.resources import NOTHING_LISTED
from reconciler_dagster.postgres import windows as known
from reconciler_dagster_tests.orchestration.conftest import great_sync, latest_checks, point_at
from reconciler_dagster_tests.world import World, world

MONTHS = months_until(datetime.now(UTC))


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(portal_db, leads=60) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        yield here


@pytest.fixture
def met(acme: World, instance: dg.DagsterInstance) -> World:
    """Synced already, so that a Great Sync is one run."""
    acme.sync()
    ensure_partitions(instance, [acme.client])
    return acme


def proved(instance: dg.DagsterInstance, acme: World) -> list[str]:
    keys = instance.get_materialized_partitions(RECONCILED_WINDOWS)
    return by_client(sorted(keys)).get(acme.client.id, [])


def test_a_dry_run_proves_no_month_and_counts_what_it_listed(
    met: World, instance: dg.DagsterInstance
) -> None:
    result, told = great_sync(met, instance, dry_run=True)
    assert proved(instance, met) == []
    assert result.counts.pulled == 60
    assert told.last is not None
    assert told.last.counts.pulled == 60
    assert "window_deletions" in latest_checks(instance)
    great_sync(met, instance)
    assert proved(instance, met) == MONTHS


def test_a_dry_run_of_a_delta_reconciles_nothing(met: World, instance: dg.DagsterInstance) -> None:
    (result,) = sync_clients(met.settings, instance, None, SyncConfig(dry_run=True))
    assert result.attention == []
    assert instance.get_latest_materialization_event(RECONCILED_LEADS) is None
    list(sync_clients(met.settings, instance, None, SyncConfig()))
    assert instance.get_latest_materialization_event(RECONCILED_LEADS) is not None


def test_a_window_that_was_cut_short_is_not_proved(
    met: World, instance: dg.DagsterInstance
) -> None:
    met.sandbox.fault("short_listing", keep=20, method="GET", times=None)
    great_sync(met, instance)
    met.sandbox.clear_faults()
    assert proved(instance, met) == []
    assert "was cut short" in (latest_checks(instance)["window_deletions"] or "")


def test_a_stopped_field_and_quarantine_turn_the_checks_red(
    met: World, instance: dg.DagsterInstance
) -> None:
    record_id = min(met.sandbox.records())
    met.update(record_id, hrq_status="Postponed")
    met.sandbox.delete_field("Company")
    great_sync(met, instance)
    red = latest_checks(instance)["window_attention"] or ""
    assert "Acme: " in red
    assert "company" in red.lower()
    assert "Acme: 1 record in quarantine: see `reconciler quarantine list`." in red
    list(audit_clients(met.settings, instance, None))
    assert "in quarantine" in (latest_checks(instance)["audit_attention"] or "")


def test_steps_that_are_executed_again_alone_say_that_they_go_together(
    met: World, instance: dg.DagsterInstance
) -> None:
    list(sync_clients(met.settings, instance, None, SyncConfig()))
    windows = {
        "dagster/asset_partition_range_start": f"{met.client.id}|2026-01-01",
        "dagster/asset_partition_range_end": f"{met.client.id}|2026-01-01",
    }
    again = [
        defs.resolve_job_def("great_sync").execute_in_process(
            instance=instance,
            asset_selection=[RECONCILED_WINDOWS],
            tags=windows,
            raise_on_error=False,
        ),
        defs.resolve_job_def("sync").execute_in_process(
            instance=instance,
            asset_selection=[RECONCILED_LEADS],
            partition_key=met.client.id,
            raise_on_error=False,
        ),
    ]
    for result in again:
        (event,) = [e for e in result.all_events if e.is_step_failure]
        failure = event.step_failure_data.user_failure_data
        assert failure is not None, event.step_failure_data.error
        assert NOTHING_LISTED in (failure.description or "")


def test_the_audit_s_calls_are_the_audit_s_whatever_way_it_is_launched(
    met: World, instance: dg.DagsterInstance
) -> None:
    """As with the button on the asset: the job's tags are not there."""
    implicit = defs.resolve_implicit_global_asset_job_def()
    result = implicit.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey("audited_leads")],
        partition_key=met.client.id,
    )
    assert result.success
    rows = met.sql(
        "SELECT purpose FROM reconciler.run_summary WHERE run_id = :id", id=result.run_id
    )
    assert [row[0] for row in rows] == ["audit"]
    spent = met.sql("SELECT purpose, sum(calls) FROM reconciler.call_log GROUP BY purpose")
    purposes = dict(tuple(row) for row in spent)
    assert purposes.get("audit", 0) >= 1
    assert "great_sync" not in purposes


def test_what_is_expected_is_told_beside_what_is_done(
    met: World, instance: dg.DagsterInstance
) -> None:
    _, told = great_sync(met, instance)
    assert told.last is not None
    assert (told.last.records_expected, told.last.counts.pulled) == (60, 60)
    assert (told.last.calls_expected, told.last.windows) == (1, 1)


def test_a_great_sync_says_what_it_goes_on_with(met: World, instance: dg.DagsterInstance) -> None:
    with met.engine.begin() as connection:
        known.left_of_great_sync(connection, [met.pair], MONTHS, afresh=False)
        now = datetime.now(UTC)
        known.note_months(connection, met.pair, MONTHS[3:], now, now)
    since = met.value("SELECT started_at FROM reconciler.great_sync")
    _, told = great_sync(met, instance)
    assert told.said == [
        f"Acme: goes on with the 3 of {len(MONTHS)} months that are left of the Great Sync of "
        f"{since:%Y-%m-%d %H:%M} UTC; --afresh begins anew."
    ]
    _, told = great_sync(met, instance)
    assert told.said == []


def test_a_range_without_months_is_explained() -> None:
    now = datetime.now(UTC)
    ahead, back = now + timedelta(days=90), now - timedelta(days=90)
    with pytest.raises(ConfigurationError, match="--from lies in the future"):
        Choice(start=ahead).months(now)
    with pytest.raises(ConfigurationError, match="--from lies in the future"):
        Choice(start=ahead, end=ahead).months(now)
    with pytest.raises(ConfigurationError, match="--from lies after --to: swap them"):
        Choice(start=now, end=back).months(now)


def test_the_command_prints_what_was_done_although_a_later_client_failed(
    met: World, empty_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    met.sql(
        "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Beta', 'appNone0000000000')"
    )
    met.adopt()
    # Postgres fails while it is Beta's turn.
    met.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'the disk is full'; END $$"
    )
    met.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON reconciler.call_bucket FOR EACH ROW "
        "WHEN (NEW.base_id = 'appNone0000000000') EXECUTE FUNCTION refuse()"
    )
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", empty_db)
    out = CliRunner().invoke(main, ["great-sync", "--json"])
    assert out.exit_code == 1, out.output
    clients = json.loads(out.stdout)["clients"]
    assert [one["pulled"] for one in clients] == [60, 0]
    assert "Beta: " in out.stderr
    assert "the disk is full" in out.stderr
    plain = CliRunner().invoke(main, ["great-sync"])
    assert "Acme (" in plain.stdout
