"""Answers that say the same twice: as the API does, and as the portal's own pages read it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from reconciler_dagster.portal import leads
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.models import (
    AskedSync,
    Lead,
    LeadAnswer,
    Note,
    NoteAdded,
    Removed,
    SyncCounts,
    SyncRequest,
)
from reconciler_dagster.portal.shown import Shown
from reconciler_dagster.portal.ui_shapes import InStage, OutStage, Stages, UiLead, camel

_MESSAGES = {
    "pending": "The sync has been asked for; it starts within seconds.",
    "started": "The sync is under way.",
    "failed": "The sync has failed.",
}


def lead(found: Lead) -> LeadAnswer:
    """A lead that was claimed, or given back."""
    return LeadAnswer(**_both(found), lead=_ui(found))


def removed(shown: Shown | None, found: Lead, values: Mapping[str, Any]) -> Removed:
    """A lead that was taken out of its campaign; ``values``: what was written, by column."""
    named = {shown.label(c) if shown else c: value for c, value in values.items()}
    return Removed(
        **_both(found),
        lead=_ui(found),
        updatedFields=named,
        timestamp=datetime.now(UTC),
    )


def note(connection: Connection, user: User, lead_id: UUID, added: Note) -> NoteAdded:
    """A note that was added just now."""
    assert added.time is not None
    assert added.author is not None
    return NoteAdded(
        **added.model_dump(),
        timestamp=added.time,
        user=added.author,
        notes=leads.get_notes(connection, user, lead_id).text,
        lead=_ui(leads.get_lead(connection, user, lead_id)),
    )


def sync(found: SyncRequest, minutes: float | None = None, message: str | None = None) -> AskedSync:
    """A sync, wherever it is; ``message``: what else to say than where it is."""
    counts = found.counts or SyncCounts()
    took = 0.0
    if found.started_at and found.finished_at:
        took = (found.finished_at - found.started_at).total_seconds()
    complete = (
        f"Delta sync complete: Stage 1 processed {counts.pulled} leads, Stage 2 updated "
        f"{counts.remote_writes} leads"
    )
    told = message or found.message or _MESSAGES.get(found.state, complete)
    return AskedSync(
        **(found.model_dump() | {"message": told}),
        success=found.state != "failed",
        triggeredBy=found.requested_by,
        minutes=minutes,
        duration=f"{took:.2f}s",
        results=Stages(
            stage1=InStage(processed=counts.pulled),
            stage2=OutStage(
                updated=counts.remote_writes, skipped=counts.conflicts, errors=counts.quarantined
            ),
        ),
    )


def _both(found: Lead) -> dict[str, Any]:
    fields = {name: getattr(found, name) for name in Lead.model_fields}
    return camel(fields) | fields


def _ui(found: Lead) -> UiLead:
    return UiLead(**camel({name: getattr(found, name) for name in Lead.model_fields}))
