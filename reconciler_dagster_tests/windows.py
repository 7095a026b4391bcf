"""The Great Sync and the audit over a test's world, without Dagster."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from reconciler_dagster.core.scope import EVERYTHING, Scope
from reconciler_dagster.engine.audit import Audited, audit
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.listing import Window, list_window
from reconciler_dagster.engine.session import Purpose, Session
from reconciler_dagster.engine.windows import (
    Reconciled,
    preview,
    reconcile,
)
from reconciler_dagster_tests.world import World


@dataclass
class Swept:
    """What one window did and found."""

    counts: Counts
    change_set: ChangeSet
    window: Window
    reconciled: Reconciled


def session(acme: World, purpose: Purpose = "great_sync") -> Session:
    return Session(acme.settings, acme.engine, acme.client, acme.map, str(uuid4()), purpose)


def listed(acme: World, scope: Scope = EVERYTHING) -> tuple[Session, Window]:
    own = session(acme)
    return own, list_window(own, scope, own.run_id)


def carried_out(own: Session, window: Window) -> Swept:
    change_set = preview(own, window)
    reconciled = reconcile(own, window)
    own.counts.airtable_calls = own.calls
    return Swept(own.counts, change_set, window, reconciled)


def sweep(acme: World, scope: Scope = EVERYTHING) -> Swept:
    """A whole window: list, preview, reconcile."""
    return carried_out(*listed(acme, scope))


def waiting(acme: World, count: int = 30) -> list[str]:
    """Records that were deleted in Airtable, too many to be believed without a person."""
    gone = sorted(acme.sandbox.records())[:count]
    for record_id in gone:
        acme.sandbox.delete(record_id)
    sweep(acme)
    sweep(acme)
    assert set(states(acme).values()) == {"awaiting_approval"}
    return gone


def audited(acme: World) -> tuple[Audited, Counts]:
    own = session(acme, "audit")
    out = audit(own)
    own.counts.airtable_calls = own.calls
    return out, own.counts


def states(acme: World) -> dict[str, str]:
    return dict(tuple(row) for row in acme.sql("SELECT record_id, state FROM reconciler.tombstone"))


def inactive(acme: World) -> set[str]:
    rows = acme.sql("SELECT airtable_record_id FROM leads WHERE NOT is_active")
    return {row[0] for row in rows}


def next_hour(acme: World) -> None:
    """As if an hour had passed: calls of this hour are those of the hour before."""
    acme.sql("DELETE FROM reconciler.call_log WHERE hour < date_trunc('hour', now())")
    acme.sql("UPDATE reconciler.call_log SET hour = hour - interval '1 hour'")
    acme.sql("UPDATE reconciler.tombstone SET looked_at = looked_at - interval '61 minutes'")
