"""One group of assets for each sync beside the leads. The same runs make them as the leads' ones.

They are for people who look: no step is theirs, an op reports them beside its own asset. So they
cost a run nothing but the events of the syncs that it was over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.due import SCHEDULE
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.orchestration.catalogue import HOURLY, OWNER
from reconciler_dagster.orchestration.metadata import Metadata
from reconciler_dagster.orchestration.partitions import CLIENTS, WINDOWS
from reconciler_dagster.syncs.definition import SyncDefinition
from reconciler_dagster.syncs.in_force import definitions


@dataclass(frozen=True)
class Part:
    """An asset that every group has. ``name``: with the sync's in it. ``job``: what makes it."""

    name: str
    kinds: frozenset[str]
    description: str
    deps: tuple[Part, ...] = ()
    job: str = "sync"
    partitions: dg.PartitionsDefinition[Any] = CLIENTS

    def key(self, sync: str) -> dg.AssetKey:
        """Below the sync's name: what a sync may be called cannot meet another asset's key."""
        return dg.AssetKey([sync, self.name.format(sync)])


_BOTH = frozenset({"airtable", "postgres"})
AIRTABLE = Part(
    "airtable_{}", frozenset({"airtable"}), "The rows of the scope as Airtable has them."
)
POSTGRES = Part(
    "postgres_{}",
    frozenset({"postgres"}),
    "The rows of the scope as Postgres has them.",
    (AIRTABLE,),
)
CHANGE_SET = Part(
    "{}_change_set",
    frozenset({"python"}),
    "What differs from the baseline, and what is to be done about it.",
    (AIRTABLE, POSTGRES),
)
RECONCILED = Part("reconciled_{}", _BOTH, "Both sides after the push.", (CHANGE_SET,))
AUDITED = Part(
    "audited_{}",
    _BOTH,
    "The stalest creation windows of a client, compared in full and repaired.",
    job="audit",
)
WHOLE = Part(
    "{}_windows",
    _BOTH,
    "Both sides of whole creation months. A month is materialised where it is proved: its listing "
    "was complete, and the run was no dry run.",
    job="great_sync",
    partitions=WINDOWS,
)
PARTS = (AIRTABLE, POSTGRES, CHANGE_SET, RECONCILED, AUDITED, WHOLE)


def in_force() -> list[SyncDefinition]:
    """What runs by the settings of this process; nothing where these, or a definition, cannot be
    used: Dagster has to load all the same, for a run to say what is wrong.
    """
    try:
        return list(definitions(Settings.load()).values())
    except (ConfigurationError, OSError):
        return []


def specs(syncs: Iterable[SyncDefinition]) -> list[dg.AssetSpec]:
    """What the catalogue shows of the syncs beside the leads: the ops make the leads' own."""
    return [_spec(part, own) for own in syncs if own.sync != MAIN for part in PARTS]


def _spec(part: Part, own: SyncDefinition) -> dg.AssetSpec:
    tables = f"`{own.airtable.table}` in Airtable, `{own.postgres.table}` in Postgres."
    which = " for which this sync was due" if part.job == "sync" else ""
    made_by = f"Made by the runs of `{part.job}`{which}."
    fresh = {RECONCILED: _freshness(own.every), AUDITED: HOURLY}
    return dg.AssetSpec(
        part.key(own.sync),
        deps=[dep.key(own.sync) for dep in part.deps],
        description=f"{part.description} {tables} {made_by}",
        group_name=own.sync,
        owners=[OWNER],
        kinds=set(part.kinds),
        tags={"reconciler/scope": own.sync},
        partitions_def=part.partitions,
        freshness_policy=fresh.get(part),
    )


def _freshness(every: timedelta) -> dg.FreshnessPolicy:
    """Two turns, as for the leads: one that failed is no reason to wake anybody."""
    turn = max(every, SCHEDULE)
    return dg.FreshnessPolicy.time_window(fail_window=2 * turn, warn_window=turn * 4 / 3)


def report(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    part: Part,
    told: Mapping[str, Metadata],
    partitions: Iterable[str] | None = None,
) -> None:
    """Note that a run has made this part. ``told``: by sync, of those that it was over; the leads'
    is the op's own output. ``partitions``: the run's own unless given.
    """
    for sync, metadata in told.items():
        if sync == MAIN:
            continue
        for partition in [context.partition_key] if partitions is None else partitions:
            context.log_event(
                dg.AssetMaterialization(part.key(sync), partition=partition, metadata=metadata)
            )
