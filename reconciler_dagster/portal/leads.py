"""Leads as they are read: lists, one lead with its sync state, its notes and its activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Uuid,
    case,
    column,
    exists,
    func,
    literal,
    select,
    table,
    text,
)

from reconciler_dagster.portal import plain
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.models import (
    Activity,
    Holder,
    Lead,
    LeadDetail,
    LeadPage,
    NoteList,
    Notes,
    NoteType,
    QuarantinedField,
    SyncState,
)
from reconciler_dagster.portal.note_text import parse_notes
from reconciler_dagster.portal.problems import not_found
from reconciler_dagster.portal.ui_shapes import UiNote, camel

Sort = Literal[
    "name", "-name", "company", "-company", "icp_score", "-icp_score", "updated_at", "-updated_at",
    "created_at", "-created_at", "claimed_at", "-claimed_at",
]  # fmt: skip
Claimed = Literal["me", "anyone", "nobody"]

_PLAIN = [
    "id", "client_id", "airtable_record_id", "first_name", "last_name", "email", "phone",
    "company", "title", "icp_score", "status", "processing_status", "hrq_status",
    "campaign_name", "campaign_batch", "sms_stop", "sms_stop_reason", "claimed_at", "is_active",
    "created_at", "updated_at",
]  # fmt: skip
_UUIDS = {"id", "client_id", "claimed_by", "lead_id"}


def _table(schema: str, name: str, columns: Sequence[str]) -> Any:
    kinds = {name: Uuid() if name in _UUIDS else None for name in columns}
    return table(name, *(column(key, kind) for key, kind in kinds.items()), schema=schema)


LEADS = _table("public", "leads", [*_PLAIN, "claimed_by", "notes"])
USERS = _table("public", "users", ["id", "email", "first_name", "last_name"])
UNSETTLED = _table("reconciler", "unsettled", ["client_id", "sync", "lead_id"])
JOURNAL = _table("reconciler", "journal", ["client_id", "sync", "record_id", "state"])
QUARANTINE = _table("reconciler", "quarantine", ["client_id", "sync", "record_id"])
# Of the engine's memory, what is about leads.
SYNC = "leads"

_lead, _user = LEADS.c, USERS.c
_NAME = func.coalesce(
    func.nullif(func.trim(func.concat_ws(" ", _user.first_name, _user.last_name)), ""),
    _user.email,
)
_SYNC: ColumnElement[str] = case(
    (
        exists().where(
            QUARANTINE.c.client_id == _lead.client_id,
            QUARANTINE.c.sync == SYNC,
            QUARANTINE.c.record_id == _lead.airtable_record_id,
        ),
        "quarantined",
    ),
    (
        exists().where(
            UNSETTLED.c.client_id == _lead.client_id,
            UNSETTLED.c.sync == SYNC,
            UNSETTLED.c.lead_id == _lead.id,
        )
        | exists().where(
            JOURNAL.c.client_id == _lead.client_id,
            JOURNAL.c.sync == SYNC,
            JOURNAL.c.record_id == _lead.airtable_record_id,
            JOURNAL.c.state != "acknowledged",
        ),
        "waiting",
    ),
    else_="in_step",
)


@dataclass(frozen=True)
class Filters:
    """Which leads to list, and in what order."""

    search: str | None = None
    status: str | None = None
    processing_status: str | None = None
    hrq_status: str | None = None
    claimed: Claimed | None = None
    sync: SyncState | None = None
    active: bool = True
    sort: Sort = "-updated_at"
    page: int = 1
    page_size: int = 50


def _visible(user: User, client_id: UUID | None) -> list[ColumnElement[bool]]:
    """The row-level rule: everything below goes through it."""
    if client_id is not None and not user.sees(client_id):
        raise not_found("client")
    only = client_id or user.client_id
    return [] if only is None else [_lead.client_id == only]


def _select() -> Select[Any]:
    return select(
        *(_lead[name] for name in _PLAIN),
        _lead.notes,
        _user.id.label("holder_id"),
        _user.email.label("holder_email"),
        _NAME.label("holder_name"),
        _SYNC.label("sync"),
    ).select_from(LEADS.outerjoin(USERS, _user.id == _lead.claimed_by))


def _as_lead(row: Row[Any]) -> dict[str, Any]:
    holder = (
        Holder(id=row.holder_id, name=row.holder_name, email=row.holder_email)
        if row.holder_id
        else None
    )
    values = row._mapping
    return {**{name: values[name] for name in _PLAIN}, "claimed_by": holder, "sync": row.sync}


def list_leads(
    connection: Connection, user: User, filters: Filters, client_id: UUID | None = None
) -> LeadPage:
    """One page of the user's leads."""
    wanted = _visible(user, client_id)
    wanted.append(_lead.is_active.is_(filters.active))
    for name in ("status", "processing_status", "hrq_status"):
        if (value := getattr(filters, name)) is not None:
            wanted.append(_lead[name] == value)
    if filters.search and filters.search.strip():
        everything = func.concat_ws(
            " ", _lead.first_name, _lead.last_name, _lead.email, _lead.company, _lead.phone,
            type_=String,
        )  # fmt: skip
        wanted += [everything.icontains(word, autoescape=True) for word in filters.search.split()]
    if filters.claimed is not None:
        wanted.append(
            {
                "me": _lead.claimed_by == user.id,
                "anyone": _lead.claimed_by.is_not(None),
                "nobody": _lead.claimed_by.is_(None),
            }[filters.claimed]
        )
    if filters.sync is not None:
        wanted.append(literal(filters.sync) == _SYNC)
    key = filters.sort.removeprefix("-")
    columns = [_lead.last_name, _lead.first_name] if key == "name" else [_lead[key]]
    order = [by.desc().nulls_last() if filters.sort[0] == "-" else by for by in columns]
    total = connection.scalar(select(func.count()).select_from(LEADS).where(*wanted)) or 0
    rows = connection.execute(
        _select()
        .where(*wanted)
        .order_by(*order, _lead.id)
        .limit(filters.page_size)
        .offset((filters.page - 1) * filters.page_size)
    )
    return LeadPage(
        items=[Lead(**_as_lead(row)) for row in rows],
        total=total,
        page=filters.page,
        page_size=filters.page_size,
    )


def _row(connection: Connection, user: User, lead_id: UUID) -> Row[Any]:
    found = connection.execute(_select().where(*_visible(user, None), _lead.id == lead_id)).first()
    if found is None:
        raise not_found()
    return found


def get_lead(connection: Connection, user: User, lead_id: UUID) -> Lead:
    """A lead of the user's; raises a 404 problem for any other."""
    return Lead(**_as_lead(_row(connection, user, lead_id)))


def get_detail(connection: Connection, user: User, lead_id: UUID) -> LeadDetail:
    """A lead with its notes, activity and quarantine."""
    row = _row(connection, user, lead_id)
    quarantine = connection.execute(
        text("""
            SELECT field, direction, value, reason, attempts, next_attempt_at
            FROM reconciler.quarantine WHERE client_id = :client AND record_id = :record
            ORDER BY field, direction
        """),
        {"client": row.client_id, "record": row.airtable_record_id},
    )
    lead = _as_lead(row)
    return LeadDetail(
        **(camel(lead) | lead),
        notes=row.notes,
        quarantine=[
            QuarantinedField(**{**entry, "reason": plain.refusal(user, entry["reason"])})
            for entry in quarantine.mappings()
        ],
        activity=_activity(connection, lead_id),
    )


def _activity(connection: Connection, lead_id: UUID, limit: int = 100) -> list[Activity]:
    """The newest entries first. `created_by` may hold a user's id, an e-mail or any other name."""
    rows = connection.execute(
        text("""
            SELECT log.timestamp AS time, log.event_type, log.description,
                   log.message_content AS content,
                   coalesce(nullif(trim(concat_ws(' ', u.first_name, u.last_name)), ''), u.email,
                            log.created_by) AS author
            FROM public.lead_activity_log log
            LEFT JOIN public.users u ON log.created_by IN (u.id::text, u.email)
            WHERE log.lead_id = :lead ORDER BY log.timestamp DESC, log.id LIMIT :limit
        """),
        {"lead": lead_id, "limit": limit},
    )
    return [Activity(**entry) for entry in rows.mappings()]


def get_notes(connection: Connection, user: User, lead_id: UUID) -> Notes:
    """The lead's notes, read from where they are written: ``leads.notes``."""
    notes = _row(connection, user, lead_id).notes or ""
    typed = connection.execute(
        text("""
            SELECT metadata ->> 'stamp' AS stamp, metadata ->> 'note_type' AS type
            FROM public.lead_activity_log
            WHERE lead_id = :lead AND event_type = 'NOTE_ADDED'
        """),
        {"lead": lead_id},
    )
    return Notes(text=notes, items=parse_notes(notes, {row.stamp: row.type for row in typed}))


def note_list(connection: Connection, user: User, lead_id: UUID) -> NoteList:
    """The same as the portal's pages read them."""
    lead = get_lead(connection, user, lead_id)
    return NoteList(
        [
            UiNote(
                timestamp=note.time or lead.created_at,
                user=note.author or "Airtable",
                content=note.content,
                type=note.type or NoteType.GENERAL,
            )
            for note in reversed(get_notes(connection, user, lead_id).items)
        ]
    )
