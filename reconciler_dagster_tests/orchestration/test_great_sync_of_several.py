"""The Great Sync over several syncs that are linked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from reconciler_dagster.core.windows import months_until
from reconciler_dagster.orchestration.reconciled_windows import RECONCILED_WINDOWS
from reconciler_dagster.postgres import windows as known
from reconciler_dagster_tests.orchestration.conftest import great_sync, point_at
from reconciler_dagster_tests.owner.tables import Tables, tables


@pytest.fixture
def portal(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    with tables(portal_db, "campaigns, leads", leads=150) as here:
        point_at(monkeypatch, portal_db, here.acme.sandbox)
        monkeypatch.setenv("RECONCILER_SYNCS", "campaigns, leads")
        yield here


def calls_of_runs(portal: Tables) -> list[int]:
    asked = "SELECT (counts ->> 'airtable_calls')::int FROM reconciler.run_summary"
    return [row[0] for row in portal.sql(asked)]


def test_every_sync_is_listed_ahead_and_nothing_twice(
    portal: Tables, instance: dg.DagsterInstance
) -> None:
    for _ in range(2):
        before = len(portal.acme.sandbox.calls())
        result, told = great_sync(portal.acme, instance)
        assert result.attention == []
        assert set(calls_of_runs(portal)) == {0}, "no run lists for itself what was listed ahead"
        assert result.counts.airtable_calls == len(portal.acme.sandbox.calls()) - before
    campaigns = len(portal.on("Campaigns").records())
    assert (result.counts.pulled, result.counts.local_writes) == (150 + campaigns, 0)
    assert told.last is not None
    assert told.last.records_expected == 150 + campaigns
    assert portal.quiet() == (2, 0, 0)


def test_each_sync_has_its_months_in_its_own_group(
    portal: Tables, instance: dg.DagsterInstance
) -> None:
    """A month is proved of all syncs only where it is of each."""
    own, all_ = dg.AssetKey(["campaigns", "campaigns_windows"]), RECONCILED_WINDOWS
    great_sync(portal.acme, instance, dry_run=True)
    assert instance.get_materialized_partitions(own) == set()
    portal.acme.sync()
    portal.on("Leads").fault("short_listing", keep=60, method="GET", times=None)
    great_sync(portal.acme, instance)
    everything = {f"{portal.acme.client.id}|{m}" for m in months_until(datetime.now(UTC))}
    assert instance.get_materialized_partitions(own) == everything
    assert instance.get_materialized_partitions(all_) < everything
    portal.on("Leads").clear_faults()
    great_sync(portal.acme, instance)
    assert instance.get_materialized_partitions(all_) == everything
    (event,) = instance.fetch_materializations(own, limit=1).records
    assert event.asset_materialization is not None
    told = {key: said.value for key, said in event.asset_materialization.metadata.items()}
    assert (told["client"], told["outcome"], told["local writes"]) == ("Acme", "ok", 0)


def test_a_month_is_left_until_all_syncs_have_it(portal: Tables) -> None:
    months = months_until(datetime.now(UTC))
    first, second = pairs = [portal.pair(name) for name in ("campaigns", "leads")]
    now = datetime.now(UTC)
    with portal.acme.engine.begin() as connection:
        known.left_of_great_sync(connection, pairs, months, afresh=True)
        known.note_months(connection, first, months, now, now)
        known.note_months(connection, second, months[:3], now, now)
        left = known.left_of_great_sync(connection, pairs, months, afresh=False)
        assert (left.months, left.since is not None) == (months[3:], True)
        assert known.left_of_great_sync(connection, [first], months, afresh=False).since is None


def test_a_dry_run_knows_the_rows_that_the_run_would_make(
    portal: Tables, instance: dg.DagsterInstance
) -> None:
    """Old leads link to campaigns of today, and new leads to old campaigns."""
    new = portal.on("Campaigns").add({"Campaign Name": "Own"})
    nameless = portal.on("Campaigns").add({})
    leads = sorted(portal.acme.sandbox.records().items(), key=lambda item: item[1]["createdTime"])
    old, young = leads[0][0], leads[-1][0]
    some = next(iter(portal.on("Campaigns").records()))
    for record_id, linked in ((old, new), (young, some), (leads[1][0], nameless)):
        portal.acme.sandbox.edit(record_id, {"Linked Campaign": [linked]})
    dry, _ = great_sync(portal.acme, instance, dry_run=True)
    assert portal.waiting() == []
    ran, _ = great_sync(portal.acme, instance)
    assert ran.attention == ["1 record in quarantine: see `reconciler quarantine list`."]
    then = Counter((field, reason) for _, field, _, reason in portal.waiting())
    told = Counter({(w["field"], w["reason"]): w["cells"] for w in dry.change_set["refusals"]})
    assert told == then
    links = [reason for field, reason in then if field == "campaign_id"]
    assert len(links) == 1
    assert nameless in links[0]
    assert dry.change_set["inserts"] == portal.acme.value(
        "SELECT (SELECT count(*) FROM leads) + (SELECT count(*) FROM campaigns "
        "WHERE airtable_record_id IS NOT NULL)"
    )


def test_a_dry_run_over_what_is_met_plans_each_cell(
    portal: Tables, instance: dg.DagsterInstance
) -> None:
    great_sync(portal.acme, instance)
    portal.sql("DELETE FROM reconciler.history")
    new = portal.on("Campaigns").add({"Campaign Name": "Own"})
    for record_id in sorted(portal.acme.sandbox.records())[:3]:
        portal.sql("UPDATE leads SET campaign_id = NULL WHERE airtable_record_id = :r", r=record_id)
        portal.acme.sandbox.edit(record_id, {"Linked Campaign": [new], "Company": "Else"})
    dry, _ = great_sync(portal.acme, instance, dry_run=True)
    great_sync(portal.acme, instance)
    assert portal.waiting() == []
    assert dry.change_set["refusals"] == []
    written = Counter(
        tuple(row)
        for row in portal.sql(
            "SELECT side, field FROM reconciler.history WHERE old_value IS NOT NULL"
        )
    )
    assert written["postgres", "company"] == dry.change_set["to_postgres"]["company"] == 3
    linked = portal.acme.value(
        "SELECT count(*) FROM leads l JOIN campaigns c ON c.id = l.campaign_id "
        "WHERE c.airtable_record_id = :r",
        r=new,
    )
    assert dry.change_set["to_postgres"]["campaign_id"] == linked == 3
