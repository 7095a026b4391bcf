"""The assets: both sides, the change-set between them, and what came of it.

The push is an asset of its own: a blocking check does not stop a later op inside one
graph-backed asset (https://docs.dagster.io/guides/test/asset-checks, and measured).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.orchestration.ops import (
    SyncConfig,
    diff_op,
    pull_airtable_op,
    pull_postgres_op,
    push_op,
)
from reconciler_dagster.orchestration.partitions import CLIENTS

AIRTABLE_LEADS = dg.AssetKey("airtable_leads")
POSTGRES_LEADS = dg.AssetKey("postgres_leads")
OUTBOUND_CHANGE_SET = dg.AssetKey("outbound_change_set")
RECONCILED_LEADS = dg.AssetKey("reconciled_leads")


# What the catalogue shows: of a graph's outputs it would show the graph's own docstring.
_DESCRIPTIONS = {
    "airtable_leads": "The leads of the scope as Airtable has them.",
    "postgres_leads": "The leads of the scope as the portal has them.",
    "outbound_change_set": "What differs from the baseline, and what is to be done about it.",
}


@dg.graph(out={name: dg.GraphOut() for name in _DESCRIPTIONS})
def pull_and_diff() -> Any:
    """Read both sides of the scope and merge them."""
    pulled = pull_airtable_op()
    leads = pull_postgres_op(pulled)
    return {
        "airtable_leads": pulled,
        "postgres_leads": leads,
        "outbound_change_set": diff_op(leads),
    }


@dg.graph(out={"reconciled_leads": dg.GraphOut()})
def apply_and_push(outbound_change_set: Any) -> Any:
    """Carry the change-set out."""
    return {"reconciled_leads": push_op(outbound_change_set)}


# can_subset stays off: a diff must never pair one stale side with one fresh side.
pull_and_diff_assets = dg.AssetsDefinition.from_graph(
    pull_and_diff,
    partitions_def=CLIENTS,
    group_name=MAIN,
    descriptions_by_output_name=_DESCRIPTIONS,
    internal_asset_deps={
        "airtable_leads": set(),
        "postgres_leads": {AIRTABLE_LEADS},
        "outbound_change_set": {AIRTABLE_LEADS, POSTGRES_LEADS},
    },
)
push_assets = dg.AssetsDefinition.from_graph(
    apply_and_push,
    partitions_def=CLIENTS,
    group_name=MAIN,
    descriptions_by_output_name={"reconciled_leads": "Both sides after the push."},
)

ASSETS = [pull_and_diff_assets, push_assets]


def run_config(config: SyncConfig, log_level: str = "INFO") -> dg.RunConfig:
    """The run config that hands a SyncConfig to the pull. ``log_level``: of the console alone."""
    return dg.RunConfig(
        ops={"pull_and_diff": {"ops": {"pull_airtable_op": {"config": config.model_dump()}}}},
        loggers={"console": {"config": {"log_level": log_level}}},
    )
