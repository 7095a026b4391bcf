"""The console's pages."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import Connection, RowMapping, text

from reconciler_dagster.core.sync import MAIN, Pair
from reconciler_dagster.notices import store
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import happened
from reconciler_dagster.portal import actions, entries, leads, plain, queries, sides, sync_requests
from reconciler_dagster.portal.console.display import chart
from reconciler_dagster.portal.console.month import month_chart
from reconciler_dagster.portal.console.session import SignedInVisit, Visit
from reconciler_dagster.portal.models import NoteType, RequestId, SearchText, SyncState
from reconciler_dagster.portal.problems import not_found
from reconciler_dagster.postgres import decisions
from reconciler_dagster.postgres.calls import months

router = APIRouter(prefix="/console", include_in_schema=False)

_PAGE_SIZE = 25


@router.get("")
def overview(visit: SignedInVisit) -> Response:
    """The Manual Sync button, how far both sides agree, and the last runs."""
    if not visit.user.is_admin and MAIN in visit.shown:
        return visit.go("/leads")
    visit.user.require_admin()
    if visit.client is None:
        return visit.page("empty.html")
    with visit.portal.transaction() as connection:
        runs = queries.runs(connection, visit.client.id)
        request_id = sync_requests.latest(connection, visit.client.id)
        sync = (
            sync_requests.get(
                connection, visit.user, request_id, visit.portal.settings.dagster_ui_url
            )
            if request_id
            else None
        )
    return visit.page("overview.html", sync=sync, runs=runs, strips=chart(runs, visit.rows))


@router.get("/sync/{request_id}")
def sync_progress(
    request_id: Annotated[RequestId, Path()], visit: SignedInVisit, seen: str = ""
) -> Response:
    """How far a sync is, as a fragment; 204 while nothing has changed since `seen`."""
    visit.user.require_admin()
    with visit.portal.transaction() as connection:
        sync = sync_requests.get(
            connection, visit.user, request_id, visit.portal.settings.dagster_ui_url
        )
    if sync.state == seen:
        return Response(status_code=204)
    page = visit.page("_sync.html", sync=sync)
    if sync.state in ("succeeded", "failed"):
        page.headers["HX-Trigger"] = "sync-finished"
    return page


@router.get("/runs")
def runs(visit: SignedInVisit) -> Response:
    """The last runs, as a fragment."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        found = queries.runs(connection, client.id)
    return visit.page("_runs.html", runs=found, strips=chart(found, visit.rows))


@router.get("/runs/{run_id}")
def run(
    run_id: Annotated[str, Path(max_length=100, pattern=r"^[\w-]+$")], visit: SignedInVisit
) -> Response:
    """One run and what it changed; the run's metadata in Dagster points here."""
    visit.user.require_admin()
    with visit.portal.transaction() as connection:
        client, found = _run_of_any(visit, connection, run_id)
        shown = visit.portal.shown(client.airtable_base_id)
        history = entries.history_of_run(connection, client.id, shown, run_id)
    return visit.page(
        "run.html",
        run={**found, "message": plain.run_message(visit.user, found["message"])},
        history=history,
        run_url=sync_requests.run_url(visit.user, visit.portal.settings.dagster_ui_url, run_id),
        client=client,
    )


def _run_of_any(
    visit: Visit, connection: Connection, run_id: str
) -> tuple[queries.Client, RowMapping]:
    """The run among those of the person's clients, the one being looked at first."""
    chosen = visit.require_client()
    for client in sorted(visit.clients, key=lambda each: each != chosen):
        found = queries.find_run(connection, client.id, run_id)
        if found is not None:
            return client, found
    raise not_found("run")


@router.get("/conflicts")
def conflicts(visit: SignedInVisit) -> Response:
    """What both sides edited: what won, what lost, and the way back."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        found = entries.conflicts(connection, client.id, visit.shown)
    return visit.page("conflicts.html", conflicts=found)


@router.get("/quarantine")
def quarantine(visit: SignedInVisit) -> Response:
    """The values that one side cannot take."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        found = entries.quarantine(connection, client.id, visit.shown)
    return visit.page("quarantine.html", quarantine=found)


@router.get("/deletions")
def deletions(visit: SignedInVisit) -> Response:
    """The deletions that wait for a person's word."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        found = entries.pending_deletions(connection, client.id, visit.shown)
        waiting = sum(decisions.pending(connection, pair) for pair in visit.pairs)
    return visit.page("deletions.html", deletions=found, waiting=waiting)


@router.get("/notices")
def notices(visit: SignedInVisit) -> Response:
    """What somebody was told of, what came of it, and the month's calls: of all clients."""
    visit.user.require_super_admin()
    with visit.portal.transaction() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        told = store.latest(connection)
        of_months = months(connection, visit.portal.settings, now)
    routes = NoticeSettings.load().routes()
    return visit.page(
        "notices.html",
        told=told,
        kinds=KINDS,
        happened=happened,
        months=[(month, month_chart(month, now)) for month in of_months],
        routes=routes,
    )


@router.get("/leads")
def lead_list(
    visit: SignedInVisit,
    search: SearchText = "",
    claimed: leads.Claimed | str = "",
    sync: SyncState | str = "",
    sort: leads.Sort = "-updated_at",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """The leads of the client, to search and filter."""
    visit.require_leads()
    filters = leads.Filters(
        search=search,
        claimed=claimed if claimed in ("me", "anyone", "nobody") else None,
        sync=sync if sync in ("in_step", "waiting", "quarantined") else None,
        sort=sort,
        page=page,
        page_size=_PAGE_SIZE,
    )
    with visit.portal.transaction() as connection:
        found = leads.list_leads(
            connection, visit.user, filters, visit.client.id if visit.client else None
        )
    last = max(1, -(-found.total // _PAGE_SIZE))
    asked = {"search": search, "claimed": claimed, "sync": sync, "sort": sort}
    return visit.page("leads.html", found=found, asked=asked, last=last)


@router.get("/leads/{lead_id}")
def lead(lead_id: UUID, visit: SignedInVisit) -> Response:
    """A lead: both sides and the baseline, the history of every field, and what can be done."""
    visit.require_leads()
    with visit.portal.transaction() as connection:
        found = leads.get_detail(connection, visit.user, lead_id)
        notes = leads.get_notes(connection, visit.user, lead_id)
        shown = visit.portal.leads_of(connection, found.client_id) or visit.require_leads()
        pair = Pair(str(found.client_id), shown.map)
        fields = sides.fields_of(connection, pair, visit.user, lead_id)
        history = entries.history_by_field(connection, pair, lead_id)
    return visit.page(
        "lead.html",
        lead=found,
        leads=shown,
        claiming={"claimed_by", "claimed_at"},
        removing=actions.removal("").keys(),
        notes=notes,
        fields=fields,
        history=history,
        note_types=[kind.value for kind in NoteType],
        form_key=uuid4(),
    )
