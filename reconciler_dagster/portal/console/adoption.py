"""The console's page of a client's adoption: what it would do, and a person's yes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Response

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.report_lines import lines
from reconciler_dagster.portal.console.session import SentForm, SignedInVisit
from reconciler_dagster.postgres import adoption, adoption_requests, rehearsals

router = APIRouter(prefix="/console", include_in_schema=False)

_DONE = {
    "rehearse": "It is being rehearsed: the report is here in a moment. Nothing is written.",
    "approve": "It is rehearsed once more, and carried out unless it would do more than was shown.",
    "pause": "Paused: nothing of it is written on either side until it is resumed.",
    "resume": "Resumed: the next run goes on with whatever was edited meanwhile.",
}


@router.get("/adoption")
def show(visit: SignedInVisit) -> Response:
    """How the client stands, and what was rehearsed last."""
    client_id = str(visit.require_client().id)
    with visit.portal.transaction() as connection:
        standing = adoption.standing(connection, client_id)
        kept = rehearsals.latest(connection, client_id)
        request = adoption_requests.latest(connection, client_id)
    differs = kept.outcome.other_than(kept.report) if kept and kept.outcome else []
    return visit.page(
        "adoption.html",
        standing=standing,
        new_syncs=visit.portal.why_without(standing),
        kept=kept,
        lines=list(lines(kept.report)) if kept else [],
        refusals=kept.report.change_set["refusals"] if kept else [],
        differs=differs,
        asked=request,
    )


@router.post("/adoption")
def act(
    visit: SentForm, what: Annotated[Literal["rehearse", "approve", "pause", "resume"], Form()]
) -> Response:
    """Ask for a rehearsal or for what was shown; pause and resume at once."""
    client_id, by = str(visit.require_client().id), visit.user.email
    try:
        with visit.portal.transaction() as connection:
            if what in ("pause", "resume"):
                change = adoption.pause if what == "pause" else adoption.resume
                change(connection, client_id, by)
            elif what == "approve" and rehearsals.shown(connection, client_id) is None:
                return visit.go("/adoption", "Rehearse it first: nothing was shown yet.", "error")
            else:
                adoption_requests.ask(connection, client_id, by, approve=what == "approve")
    except ConfigurationError as error:
        return visit.go("/adoption", str(error), "error")
    return visit.go("/adoption", _DONE[what])
