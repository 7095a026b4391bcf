"""What Dagster's catalogue tells of the assets: owner, kinds, code, and when they are stale."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

OWNER = "team:reconciler"
# Two ticks of the schedule; one that failed is no reason to wake anybody.
FIFTEEN_MINUTES = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(minutes=30), warn_window=timedelta(minutes=20)
)
HOURLY = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=3), warn_window=timedelta(hours=2)
)

_KINDS = {
    "airtable_leads": {"airtable"},
    "postgres_leads": {"postgres"},
    "outbound_change_set": {"python"},
    "reconciled_leads": {"airtable", "postgres"},
    "audited_leads": {"airtable", "postgres"},
}
_FRESH = {
    "airtable_leads": FIFTEEN_MINUTES,
    "postgres_leads": FIFTEEN_MINUTES,
    "outbound_change_set": FIFTEEN_MINUTES,
    # A dry run makes no reconciled leads; the schedule never makes dry ones.
    "reconciled_leads": FIFTEEN_MINUTES,
    "audited_leads": HOURLY,
}


def described(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets with what the catalogue shows of them."""
    shown = dg.map_asset_specs(_described, assets)
    with warnings.catch_warnings():  # the links to the code are beta: every command would say so
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.with_source_code_references(shown)
    return [one for one in linked if isinstance(one, dg.AssetsDefinition)]


def _described(spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.path[-1]
    return spec.replace_attributes(
        owners=[OWNER],
        kinds=_KINDS.get(name, {"airtable", "postgres"}),
        tags={**spec.tags, "reconciler/scope": spec.group_name or "leads"},
        freshness_policy=_FRESH.get(name),
    )
