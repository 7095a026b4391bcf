"""What a user does to a lead: each is one transaction of the lead's row and its activity log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Row, text

from reconciler_dagster.core.table import Table
from reconciler_dagster.portal import leads, sync_requests
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.models import Lead, Note, NoteType
from reconciler_dagster.portal.problems import Problem, not_found
from reconciler_dagster.portal.rows import write
from reconciler_dagster.portal.shown import Shown

# What an Airtable text field takes.
NOTES_LIMIT = 100_000

_LEADS = Table("public", "leads", "id", "airtable_record_id")
_LOCK = text("""
    SELECT id, client_id, airtable_record_id, claimed_by, notes, is_active
    FROM public.leads WHERE id = :lead FOR UPDATE
""")
_LOG = text("""
    INSERT INTO public.lead_activity_log (id, event_type, event_category, lead_id,
        lead_airtable_id, client_id, description, message_content, metadata, source, created_by,
        timestamp, created_at)
    VALUES (gen_random_uuid(), :event, :category, :lead, :record, :client, :description, :content,
        :metadata, :source, :author, :time, :time)
""")


@dataclass(frozen=True)
class Event:
    """How the portal's own pages know what was done: they filter by type and category."""

    type: str
    category: str
    source: str


_CLAIMED = Event("LEAD_CLAIMED", "MANUAL", "ui:lead-claim")
_UNCLAIMED = Event("LEAD_UNCLAIMED", "MANUAL", "ui:lead-unclaim")
_NOTED = Event("NOTE_ADDED", "MANUAL", "ui:note-add")
_REMOVED = Event("CAMPAIGN_REMOVED", "CAMPAIGN", "ui:campaign-remove")


def stamp(moment: datetime) -> str:
    """A moment as Airtable keeps it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lock(connection: Connection, user: User, lead_id: UUID) -> Row[Any]:
    """The lead, locked until the transaction ends; raises 404 for another client's."""
    lead = connection.execute(_LOCK, {"lead": lead_id}).first()
    if lead is None or not user.sees(lead.client_id):
        raise not_found()
    if not lead.is_active:
        raise Problem(409, "This lead was deleted in Airtable.", kind="lead-deleted")
    return lead


# How a client's leads are mapped; None where they are not synced.
MapOf = Callable[[Connection, UUID], Shown | None]


def edit(
    connection: Connection,
    map_of: MapOf,
    user: User,
    lead: Row[Any],
    values: dict[str, Any],
    event: Event,
    description: str,
    *,
    content: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> datetime:
    """Change a locked lead and log it; the trigger on leads moves updated_at and tells the sync.
    Raises a 409 problem where a field is Airtable's alone: the next run would put it back.
    """
    if shown := map_of(connection, lead.client_id):
        require_editable(shown, values)
    now = datetime.now(UTC)
    write(connection, _LEADS, lead.id, values)
    connection.execute(
        _LOG,
        {
            "event": event.type,
            "category": event.category,
            "source": event.source,
            "lead": lead.id,
            "record": lead.airtable_record_id,
            "client": lead.client_id,
            "description": description,
            "content": content,
            "metadata": Jsonb({"changed": sorted(values), **(metadata or {})}),
            "author": str(user.id),
            "time": now,
        },
    )
    return now


def require_editable(shown: Shown, columns: Iterable[str]) -> None:
    """Raise a 409 problem for a column that the definition gives to Airtable alone."""
    for column in columns:
        if column in shown.locked:
            raise Problem(
                409,
                f"{shown.label(column)} belongs to Airtable: change it there.",
                kind="owned-by-airtable",
            )


def claim(connection: Connection, map_of: MapOf, user: User, lead_id: UUID) -> Lead:
    """Take a lead. One's own again is no change; another's is 409 with the holder's name."""
    lead = lock(connection, user, lead_id)
    if lead.claimed_by is None:
        values = {"claimed_by": str(user.id), "claimed_at": stamp(datetime.now(UTC))}
        edit(connection, map_of, user, lead, values, _CLAIMED, f"Claimed by {user.name}")
    elif lead.claimed_by != user.id:
        holder = leads.get_lead(connection, user, lead_id).claimed_by
        name = holder.name if holder else "someone else"
        raise Problem(409, f"{name} has claimed this lead.", kind="claimed", holder=name)
    return leads.get_lead(connection, user, lead_id)


def unclaim(connection: Connection, map_of: MapOf, user: User, lead_id: UUID) -> Lead:
    """Give a lead back: by its holder, or by an admin. One that nobody holds is no change."""
    lead = lock(connection, user, lead_id)
    if lead.claimed_by is not None:
        if lead.claimed_by != user.id and not user.is_admin:
            raise Problem(403, "Only the holder or an admin can unclaim a lead.")
        values = {"claimed_by": None, "claimed_at": None}
        edit(connection, map_of, user, lead, values, _UNCLAIMED, f"Unclaimed by {user.name}")
    return leads.get_lead(connection, user, lead_id)


def removal(reason: str) -> dict[str, Any]:
    """What taking a lead out of its campaign writes, by column."""
    return {
        "processing_status": "Stopped",
        "sms_stop": True,
        "sms_stop_reason": reason,
        "campaign_batch": None,
    }


def remove_from_campaign(
    connection: Connection, map_of: MapOf, user: User, lead_id: UUID, reason: str
) -> Lead:
    """Stop the lead's SMS now: its client is synced without waiting for the next delta."""
    lead = lock(connection, user, lead_id)
    description = f"Removed from campaign by {user.name}"
    edit(connection, map_of, user, lead, removal(reason), _REMOVED, description, content=reason)
    sync_requests.put(connection, lead.client_id, user.email)
    return leads.get_lead(connection, user, lead_id)


def add_note(
    connection: Connection, map_of: MapOf, user: User, lead_id: UUID, content: str, kind: NoteType
) -> Note:
    """Append to the notes as ``[ISO time] author: text``. What is there already is left as it is:
    only a text that purely grew is merged with what was typed in Airtable meanwhile.
    """
    lead = lock(connection, user, lead_id)
    author = " ".join(user.name.replace(":", " ").split())
    # A line of the note that looks like the head of another would speak in another's name.
    body = "\n".join(content.splitlines()).strip().replace("\n[", "\n [")
    time = stamp(datetime.now(UTC))
    before = lead.notes or ""
    gap = "" if not before or before.endswith("\n") else "\n"
    notes = f"{before}{gap}[{time}] {author}: {body}"
    if len(notes) > NOTES_LIMIT:
        raise Problem(
            409,
            f"The lead's notes are full: Airtable takes {NOTES_LIMIT} characters in all.",
            kind="notes-full",
        )
    edit(
        connection,
        map_of,
        user,
        lead,
        {"notes": notes},
        _NOTED,
        f"{kind} note by {user.name}",
        content=body,
        metadata={"note_type": kind.value, "stamp": time, "author": author},
    )
    return Note(time=datetime.fromisoformat(time), author=author, type=kind, content=body)
