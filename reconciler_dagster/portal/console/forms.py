"""What the console's buttons do: the same acts as the API's, sent as forms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Form, Path, Response
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.portal import actions, admin_actions, sync_requests
from reconciler_dagster.portal.console.session import SentForm, Visit
from reconciler_dagster.portal.idempotency import Once
from reconciler_dagster.portal.models import NewNote, NoteType, Removal, RequestId
from reconciler_dagster.portal.problems import Problem

router = APIRouter(prefix="/console", include_in_schema=False)

Model = TypeVar("Model", bound=BaseModel)
Word = Annotated[str, Form(max_length=255, pattern=r"^[^\x00]+$")]


def act(visit: Visit, back: str, act: Callable[[Connection], object], done: str) -> Response:
    """Do it in one transaction and go back to the page, which says how it went."""
    try:
        with visit.portal.transaction() as connection:
            act(connection)
    except Problem as problem:
        if problem.status not in (403, 404, 409, 422):
            raise
        return visit.go(back, problem.detail, "error")
    return visit.go(back, done)


@router.post("/sync")
def start_sync(visit: SentForm) -> Response:
    """Ask for a sync of the client that is looked at."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        request_id = sync_requests.put(connection, client.id, visit.user.email)
        sync = sync_requests.get(
            connection, visit.user, request_id, visit.portal.settings.dagster_ui_url
        )
    if visit.request.headers.get("hx-request"):
        return visit.page("_sync.html", sync=sync)
    return visit.go("")


@router.post("/leads/{lead_id}/claim")
def claim(lead_id: UUID, visit: SentForm) -> Response:
    """Claim a lead."""
    return act(
        visit,
        f"/leads/{lead_id}",
        lambda connection: actions.claim(connection, visit.portal.leads_of, visit.user, lead_id),
        "The lead is yours.",
    )


@router.post("/leads/{lead_id}/unclaim")
def unclaim(lead_id: UUID, visit: SentForm) -> Response:
    """Give a lead back."""
    return act(
        visit,
        f"/leads/{lead_id}",
        lambda connection: actions.unclaim(connection, visit.portal.leads_of, visit.user, lead_id),
        "The lead is free again.",
    )


@router.post("/leads/{lead_id}/remove-from-campaign")
def remove_from_campaign(
    lead_id: UUID, visit: SentForm, reason: Annotated[str, Form()] = ""
) -> Response:
    """Stop the lead's SMS."""

    def write(connection: Connection) -> None:
        removal = _checked(lambda: Removal(reason=reason), "Give a reason of up to 500 characters.")
        actions.remove_from_campaign(
            connection, visit.portal.leads_of, visit.user, lead_id, removal.reason
        )

    return act(
        visit, f"/leads/{lead_id}", write, "Out of the campaign. Airtable gets the change now."
    )


@router.post("/leads/{lead_id}/notes")
def add_note(
    lead_id: UUID,
    visit: SentForm,
    content: Annotated[str, Form()] = "",
    type: Annotated[NoteType, Form()] = NoteType.GENERAL,
    form_key: Annotated[UUID | None, Form()] = None,
) -> Response:
    """Append a note; the same form sent twice appends it once."""

    def write(connection: Connection) -> None:
        note = _checked(
            lambda: NewNote(content=content, type=type), "Write a note of up to 10,000 characters."
        )
        written = hashlib.sha256(f"{lead_id}\n{type}\n{content}".encode()).hexdigest()
        once = Once(f"{form_key}:{written}" if form_key else None, written)
        once.act(
            connection,
            visit.user,
            lambda: actions.add_note(
                connection, visit.portal.leads_of, visit.user, lead_id, note.content, note.type
            ),
        )

    return act(visit, f"/leads/{lead_id}", write, "The note is written.")


def _checked(make: Callable[[], Model], otherwise: str) -> Model:
    try:
        return make()
    except ValidationError:
        raise Problem(422, otherwise) from None


@router.post("/conflicts/{conflict_id}/take-back")
def take_back(conflict_id: Annotated[RequestId, Path()], visit: SentForm) -> Response:
    """Write the value that lost into its row again."""
    visit.require_client()
    return act(
        visit,
        "/conflicts",
        lambda connection: admin_actions.take_back(
            connection, visit.portal.shown, visit.user, conflict_id
        ),
        "Taken back: the value is in the portal again, and goes to Airtable with the next sync.",
    )


@router.post("/quarantine/retry")
def retry(
    visit: SentForm,
    field: Word,
    direction: Word,
    sync: Word = MAIN,
    record_id: Word | None = None,
) -> Response:
    """Try a quarantined value again, or those of all rows."""
    client = visit.require_client()
    return act(
        visit,
        "/quarantine",
        lambda connection: admin_actions.retry_quarantine(
            connection, visit.user, client.id, sync, record_id, field, direction
        ),
        "A sync was asked for: it tries the value again.",
    )


@router.post("/deletions")
def rule_on_deletion(
    visit: SentForm,
    record_id: Word,
    ruling: Annotated[Literal["approved", "rejected"], Form()],
    sync: Word = MAIN,
) -> Response:
    """Approve or reject a deletion."""
    pair, _ = visit.require_sync(sync)
    return act(
        visit,
        "/deletions",
        lambda connection: admin_actions.rule_on_deletion(
            connection, pair, visit.user, record_id, ruling
        ),
        f"The deletion is {ruling}.",
    )


@router.post("/deletions/all")
def rule_on_all_deletions(
    visit: SentForm,
    ruling: Annotated[Literal["approved", "rejected"], Form()],
    waiting: Annotated[int, Form(ge=1)],
) -> Response:
    """Approve or reject all deletions of the client, if they are as many as the page has shown."""
    pairs = visit.pairs
    then = {"approved": "a sync was asked for and carries them out", "rejected": "the rows stay"}
    return act(
        visit,
        "/deletions",
        lambda connection: admin_actions.rule_on_all_deletions(
            connection, pairs, visit.user, waiting, ruling
        ),
        f"All {waiting:,} deletions are {ruling}: {then[ruling]}.",
    )
