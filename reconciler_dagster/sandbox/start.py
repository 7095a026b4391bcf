"""Opening a world: what the command and the tests have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler_dagster.sandbox.ids import is_id
from reconciler_dagster.sandbox.seed.export import seed_export
from reconciler_dagster.sandbox.seed.leads import seed_leads
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.world import ALL_SCOPES, World


def open_world(
    base_ids: Sequence[str],
    leads: int,
    seed: int,
    tokens: Sequence[str],
    state: Path | str | None = None,
    switches: Mapping[str, Any] | None = None,
    export: Mapping[str, Any] | None = None,
) -> World:
    """Open a world; a base that the state file does not hold is seeded with `leads` leads.

    With an `export` of a real base's schema, its tables are made instead of the lead base's.

    Raises ValueError for a malformed base id or a switch that cannot be set,
    sqlite3.DatabaseError for a state file that is none.
    """
    for base_id in base_ids:
        if not is_id(base_id, "app"):
            raise ValueError(f"{base_id!r} is no base id: 'app' and 14 letters or digits.")
    world = World(switches=Switches().changed(switches or {}))
    if state is not None:
        world.open_store(state)
    world.tokens = dict.fromkeys(tokens, ALL_SCOPES)
    for base_id in base_ids:
        if base_id not in world.bases:
            now = world.clock.now()
            world.add_base(
                seed_leads(base_id, leads, seed, now)
                if export is None
                else seed_export(base_id, export, leads, seed, now)
            )
    return world
