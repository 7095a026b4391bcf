"""A group of assets for each sync: what the catalogue shows, and what runs leave in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reconciler_dagster.definitions import defs, wired
from reconciler_dagster.orchestration import groups
from reconciler_dagster.orchestration.assets import run_config
from reconciler_dagster.orchestration.catalogue import HOURLY
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.syncs.reading import SHIPPED
from reconciler_dagster_tests.crm import DEALS, FIRMS
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.owner.tables import Tables, tables

OF_LEADS = {"airtable_leads", "postgres_leads", "outbound_change_set", "reconciled_leads"}
OF_CAMPAIGNS = {
    "campaigns/airtable_campaigns",
    "campaigns/postgres_campaigns",
    "campaigns/campaigns_change_set",
    "campaigns/reconciled_campaigns",
}


class Portal:
    """Runs over leads and campaigns, and what they leave in the catalogue."""

    def __init__(self, portal: Tables, instance: dg.DagsterInstance) -> None:
        self.portal, self.instance, self.client = portal, instance, portal.acme.client.id

    def run(self, **config: Any) -> dict[str, dict[str, Any]]:
        """By asset, the metadata of what the sync materialised."""
        chosen = run_config(SyncConfig(**config), log_level="CRITICAL")
        return self._made("sync", chosen)

    def audit(self) -> dict[str, dict[str, Any]]:
        return self._made("audit", dg.RunConfig(loggers=run_config(SyncConfig()).loggers))

    def _made(self, job: str, config: dg.RunConfig) -> dict[str, dict[str, Any]]:
        result = defs.resolve_job_def(job).execute_in_process(
            run_config=config, partition_key=self.client, instance=self.instance
        )
        entries = self.instance.all_logs(result.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        found = [entry.asset_materialization for entry in entries]
        assert {one.partition for one in found if one} == {self.client}
        made = {
            one.asset_key.to_user_string(): {key: said.value for key, said in one.metadata.items()}
            for one in found
            if one
        }
        assert len(made) == len(found), "each once"
        return made


@pytest.fixture
def portal(
    portal_db: str, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> Iterator[Portal]:
    with tables(portal_db, "campaigns, leads", leads=12) as here:
        point_at(monkeypatch, portal_db, here.acme.sandbox)
        monkeypatch.setenv("RECONCILER_SYNCS", "campaigns, leads")
        instance.add_dynamic_partitions("client", [here.acme.client.id])
        yield Portal(here, instance)


def test_a_run_tells_of_each_sync_in_its_own_group(portal: Portal) -> None:
    campaigns = portal.portal.on("Campaigns")
    dry = portal.run(dry_run=True)
    assert dry.keys() == (OF_LEADS | OF_CAMPAIGNS) - {
        "reconciled_leads",
        "campaigns/reconciled_campaigns",
    }
    known = len(campaigns.records())
    assert known != 12
    for made in (dry, portal.run()):
        ours, theirs = made["campaigns/campaigns_change_set"], made["outbound_change_set"]
        assert (ours["rows to insert"], theirs["leads to insert"]) == (known, 12)
        assert made["campaigns/airtable_campaigns"]["records listed"] == known
        assert made["airtable_leads"]["records listed"] == 12
        assert not [key for one in made.values() for key in one if ":" in key]
    assert made.keys() == OF_LEADS | OF_CAMPAIGNS
    portal.run()  # what follows from what the first one wrote

    campaigns.edit(min(campaigns.records()), {"Campaign Name": "Renamed"})
    made = portal.run()
    ours, theirs = made["campaigns/reconciled_campaigns"], made["reconciled_leads"]
    assert (ours["client"], ours["outcome"]) == ("Acme", "ok")
    assert (ours["pulled"], ours["local writes"], ours["airtable calls"]) == (1, 1, 1)
    assert (theirs["pulled"], theirs["airtable calls"]) == (0, 1)
    assert made["campaigns/postgres_campaigns"] == {
        "client": "Acme",
        "rows": 1,
        "unsettled edits": 0,
    }

    audited = portal.audit()
    assert audited.keys() == {"audited_leads", "campaigns/audited_campaigns"}
    assert audited["audited_leads"]["records listed"] == 12
    assert audited["campaigns/audited_campaigns"]["records listed"] == known


def test_a_sync_that_is_not_due_or_new_is_not_told_of(portal: Portal) -> None:
    sql = portal.portal.sql
    sql("UPDATE reconciler.adoption SET syncs = '{leads}'")
    assert portal.run().keys() == OF_LEADS, "campaigns are new"
    sql("UPDATE reconciler.adoption SET syncs = NULL")
    assert portal.run(only_due=True).keys() == OF_LEADS | OF_CAMPAIGNS
    assert portal.run(only_due=True).keys() == OF_LEADS, "campaigns run once an hour"
    sql("UPDATE reconciler.cursor SET moved_at = moved_at - interval '1 hour'")
    assert portal.run(only_due=True).keys() == OF_LEADS | OF_CAMPAIGNS


def test_where_the_leads_are_no_sync_their_assets_tell_of_the_others(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_SYNCS", "campaigns")
    made = portal.run()
    assert made.keys() == OF_LEADS | OF_CAMPAIGNS
    told, own = made["airtable_leads"], made["campaigns/airtable_campaigns"]
    assert told["campaigns: records listed"] == own["records listed"] > 0
    assert made["reconciled_leads"]["local writes"] > 0


# The catalogue


def catalogue() -> dict[str, dg.AssetSpec]:
    """What a code location shows that is loaded now."""
    found = wired(groups.in_force())
    dg.Definitions.validate_loadable(found)
    return {spec.key.to_user_string(): spec for spec in found.resolve_all_asset_specs()}


def test_each_sync_that_is_chosen_has_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_SYNCS", "leads, campaigns, tasks")
    found = catalogue()
    assert {spec.group_name for spec in found.values()} == {
        *("leads", "campaigns", "tasks", "great_sync")
    }
    own = {name: spec for name, spec in found.items() if spec.group_name == "campaigns"}
    assert own.keys() == {
        *(*OF_CAMPAIGNS, "campaigns/audited_campaigns", "campaigns/campaigns_windows")
    }
    windows = own.pop("campaigns/campaigns_windows")
    assert windows.partitions_def == found["reconciled_windows"].partitions_def
    of_leads = next(spec for spec in found.values() if spec.key.path[-1] == "reconciled_leads")
    for spec in own.values():
        assert spec.owners == of_leads.owners
        assert spec.partitions_def == of_leads.partitions_def
        assert spec.tags["reconciler/scope"] == "campaigns"
        assert "public.campaigns" in (spec.description or "")
    assert {name.rpartition("/")[2]: spec.kinds for name, spec in own.items()} == {
        "airtable_campaigns": {"airtable"},
        "postgres_campaigns": {"postgres"},
        "campaigns_change_set": {"python"},
        "reconciled_campaigns": {"airtable", "postgres"},
        "audited_campaigns": {"airtable", "postgres"},
    }
    deps = {
        name.rpartition("/")[2]: {dep.asset_key.path[-1] for dep in spec.deps}
        for name, spec in own.items()
    }
    assert deps == {
        "airtable_campaigns": set(),
        "postgres_campaigns": {"airtable_campaigns"},
        "campaigns_change_set": {"airtable_campaigns", "postgres_campaigns"},
        "reconciled_campaigns": {"campaigns_change_set"},
        "audited_campaigns": set(),
    }
    fresh = own["campaigns/reconciled_campaigns"].freshness_policy
    assert isinstance(fresh, type(HOURLY))
    assert fresh.fail_window.to_timedelta().total_seconds() == 2 * 3600  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["windows", "window", "outbound", "audit", "great_sync", "client"])
def test_a_sync_may_have_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reconciled_windows` and `outbound_change_set` are there already."""
    (tmp_path / "own.yaml").write_text(FIRMS.replace("sync: firms", f"sync: {name}"))
    monkeypatch.setenv("RECONCILER_SYNCS_FOLDER", str(tmp_path))
    assert f"{name}/reconciled_{name}" in catalogue()


def test_a_folder_of_ones_own_has_its_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, said in (("firms", FIRMS), ("deals", DEALS)):
        (tmp_path / f"{name}.yaml").write_text(said)
    monkeypatch.setenv("RECONCILER_SYNCS_FOLDER", str(tmp_path))
    shown = {spec.group_name for spec in catalogue().values()}
    assert shown == {"leads", "great_sync", "firms", "deals"}
    (tmp_path / "leads.yaml").write_text((SHIPPED / "leads.yaml").read_text())
    assert {spec.group_name for spec in catalogue().values()} == shown, "the leads' group is there"


def test_what_cannot_be_used_leaves_the_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = catalogue().keys()
    assert len(alone) == 7
    (tmp_path / "own.yaml").write_text("sync: [")
    for variable, said in (
        ("RECONCILER_SYNCS", "leads, nobody"),
        ("RECONCILER_SYNCS_FOLDER", str(tmp_path / "nowhere")),
        ("RECONCILER_SYNCS_FOLDER", str(tmp_path / "own.yaml")),
        ("RECONCILER_SYNCS_FOLDER", str(tmp_path)),
        ("RECONCILER_LOCKOUT_SECONDS", "soon"),
    ):
        with monkeypatch.context() as here:
            here.setenv(variable, said)
            assert catalogue().keys() == alone


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_must_not_be_read_leaves_the_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("RECONCILER_SYNCS_FOLDER", str(tmp_path / "own"))
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            (tmp_path / "own").stat()
        assert groups.in_force() == []
    finally:
        os.seteuid(0)


def test_the_code_location_loads_with_a_folder_that_is_not_there(tmp_path: Path) -> None:
    code = (
        "from reconciler_dagster.definitions import defs\n"
        "print(len(list(defs.resolve_all_asset_specs())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"RECONCILER_SYNCS_FOLDER": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("7\n", "")
