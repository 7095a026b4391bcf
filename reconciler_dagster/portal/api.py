"""The HTTP API of the leads: ``/api/leads``."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.portal import actions, leads, ui_answers
from reconciler_dagster.portal.idempotency import OnceOnly
from reconciler_dagster.portal.models import (
    LeadAnswer,
    LeadDetail,
    LeadPage,
    Name,
    NewNote,
    NoteAdded,
    NoteList,
    Notes,
    Removal,
    Removed,
    SearchText,
    SyncState,
)
from reconciler_dagster.portal.openapi import errors
from reconciler_dagster.portal.state import SignedIn, ThePortal

router = APIRouter(prefix="/api/leads", tags=["Leads"])

_READS = errors(401, 404)
_ACTS = errors(401, 404, 409)
_SENDS = errors(400, 401, 404, 409)


@router.get("", responses=_READS)
def list_leads(
    portal: ThePortal,
    user: SignedIn,
    search: Annotated[
        SearchText | None, Query(description="Words of the name, e-mail, company or phone.")
    ] = None,
    status: Name | None = None,
    processing_status: Name | None = None,
    hrq_status: Name | None = None,
    claimed: leads.Claimed | None = None,
    sync: SyncState | None = None,
    active: Annotated[bool, Query(description="False: those deleted in Airtable.")] = True,
    sort: leads.Sort = "-updated_at",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=200)] = 50,
    client_id: UUID | None = None,
) -> LeadPage:
    """Search, filter, sort and page the leads that the user sees."""
    filters = leads.Filters(
        search, status, processing_status, hrq_status, claimed, sync, active, sort, page, page_size
    )
    with portal.transaction() as connection:
        return leads.list_leads(connection, user, filters, client_id)


@router.get("/{lead_id}", responses=_READS)
def get_lead(lead_id: UUID, portal: ThePortal, user: SignedIn) -> LeadDetail:
    """One lead with its activity and its sync state."""
    with portal.transaction() as connection:
        return leads.get_detail(connection, user, lead_id)


@router.post("/{lead_id}/claim", response_model=LeadAnswer, responses=_ACTS)
def claim(lead_id: UUID, portal: ThePortal, user: SignedIn, once: OnceOnly) -> Any:
    """Claim a lead; 409 with the holder's name when another has claimed it."""
    with portal.transaction() as connection:
        return once.act(
            connection,
            user,
            lambda: ui_answers.lead(actions.claim(connection, portal.leads_of, user, lead_id)),
        )


@router.post("/{lead_id}/unclaim", response_model=LeadAnswer, responses=errors(401, 403, 404, 409))
def unclaim(lead_id: UUID, portal: ThePortal, user: SignedIn, once: OnceOnly) -> Any:
    """Give a lead back: by its holder or an admin."""
    with portal.transaction() as connection:
        return once.act(
            connection,
            user,
            lambda: ui_answers.lead(actions.unclaim(connection, portal.leads_of, user, lead_id)),
        )


@router.post("/{lead_id}/remove-from-campaign", response_model=Removed, responses=_SENDS)
def remove_from_campaign(
    lead_id: UUID, removal: Removal, portal: ThePortal, user: SignedIn, once: OnceOnly
) -> Any:
    """Stop the lead's SMS and sync its client at once."""
    with portal.transaction() as connection:
        return once.act(
            connection,
            user,
            lambda: ui_answers.removed(
                portal.shown().get(MAIN),
                actions.remove_from_campaign(
                    connection, portal.leads_of, user, lead_id, removal.reason
                ),
                actions.removal(removal.reason),
            ),
        )


@router.get("/{lead_id}/notes", responses=_READS)
def get_notes(
    lead_id: UUID,
    portal: ThePortal,
    user: SignedIn,
    as_list: Annotated[
        bool, Query(description="The entries alone, as the portal's pages read them.")
    ] = False,
) -> Notes | NoteList:
    """The lead's notes, whichever side they were written on."""
    read = leads.note_list if as_list else leads.get_notes
    with portal.transaction() as connection:
        return read(connection, user, lead_id)


@router.post("/{lead_id}/notes", response_model=NoteAdded, status_code=201, responses=_SENDS)
def add_note(
    lead_id: UUID, note: NewNote, portal: ThePortal, user: SignedIn, once: OnceOnly
) -> Any:
    """Append a note to the lead's notes."""
    with portal.transaction() as connection:
        return once.act(
            connection,
            user,
            lambda: ui_answers.note(
                connection,
                user,
                lead_id,
                actions.add_note(
                    connection, portal.leads_of, user, lead_id, note.content, note.type
                ),
            ),
        )
