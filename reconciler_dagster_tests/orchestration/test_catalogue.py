"""What Dagster's catalogue shows of the assets."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg

from reconciler_dagster.definitions import defs


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.path[-1]: spec for spec in defs.resolve_all_asset_specs()}


def test_every_asset_has_an_owner_its_kinds_and_a_link_to_its_code() -> None:
    assert len(specs()) == 7
    for spec in specs().values():
        assert spec.owners == ["team:reconciler"]
        assert spec.kinds
        assert "dagster/code_references" in spec.metadata


def test_each_asset_says_what_it_is() -> None:
    told = {name: spec.description for name, spec in specs().items()}
    assert told["airtable_leads"] == "The leads of the scope as Airtable has them."
    assert len(set(told.values())) == len(told)


def test_what_is_made_every_quarter_of_an_hour_is_stale_after_half_an_hour() -> None:
    windows = {
        name: policy.fail_window.to_timedelta().total_seconds() / 60  # type: ignore[union-attr,attr-defined]
        for name, spec in specs().items()
        if (policy := spec.freshness_policy) is not None
    }
    assert windows == {
        "airtable_leads": 30,
        "postgres_leads": 30,
        "outbound_change_set": 30,
        "reconciled_leads": 30,
        "audited_leads": 180,
    }


def test_loading_it_says_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import reconciler_dagster.definitions"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
