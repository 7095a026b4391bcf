"""The console's pages."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import Connection, RowMapping, text

from reconciler_dagster.core.drift import unexplained
from reconciler_dagster.notices import store
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import happened
from reconciler_dagster.portal import leads, plain, queries, sync_requests
from reconciler_dagster.portal.admin_actions import editable
from reconciler_dagster.portal.console.display import chart
from reconciler_dagster.portal.console.month import month_chart
from reconciler_dagster.portal.console.session import SignedInVisit, Visit
from reconciler_dagster.portal.models import NoteType, RequestId, SearchText, SyncState
from reconciler_dagster.portal.problems import not_found
from reconciler_dagster.postgres.calls import months
from reconciler_dagster.postgres.report import drift_report

router = APIRouter(prefix="/console", include_in_schema=False)

_PAGE_SIZE = 25


@router.get("")
def overview(visit: SignedInVisit) -> Response:
    """The Manual Sync button, how far both sides agree, and the last runs."""
    if not visit.user.is_admin:
        return visit.go("/leads")
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
    return visit.page("overview.html", sync=sync, runs=runs, strips=chart(runs))


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
    return visit.page("_runs.html", runs=found, strips=chart(found))


@router.get("/drift")
def drift(visit: SignedInVisit) -> Response:
    """How far both sides agree, field by field, as a fragment."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        report = drift_report(connection, visit.portal.pair(client.id, client.airtable_base_id))
    return visit.page("_drift.html", report=report, unexplained=unexplained(report))


@router.get("/runs/{run_id}")
def run(
    run_id: Annotated[str, Path(max_length=100, pattern=r"^[\w-]+$")], visit: SignedInVisit
) -> Response:
    """One run and what it changed; the run's metadata in Dagster points here."""
    visit.user.require_admin()
    with visit.portal.transaction() as connection:
        client, found = _run_of_any(visit, connection, run_id)
        history = queries.history_of_run(connection, client.id, run_id)
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
        found = queries.conflicts(connection, client.id)
    return visit.page("conflicts.html", conflicts=found, editable=editable(visit.sync))


@router.get("/quarantine")
def quarantine(visit: SignedInVisit) -> Response:
    """The values that one side cannot take."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        found = queries.quarantine(connection, client.id)
    told = [{**each, "reason": plain.refusal(visit.user, each["reason"])} for each in found]
    return visit.page("quarantine.html", quarantine=told)


@router.get("/deletions")
def deletions(visit: SignedInVisit) -> Response:
    """The deletions that wait for a person's word."""
    client = visit.require_client()
    with visit.portal.transaction() as connection:
        found = queries.pending_deletions(connection, client.id)
    return visit.page("deletions.html", deletions=found)


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
    with visit.portal.transaction() as connection:
        found = leads.get_detail(connection, visit.user, lead_id)
        notes = leads.get_notes(connection, visit.user, lead_id)
        fields = queries.lead_fields(connection, visit.sync, visit.user, lead_id)
        history = defaultdict(list)
        for change in queries.history_of_lead(connection, lead_id):
            history[change["field"]].append(change)
    return visit.page(
        "lead.html",
        lead=found,
        notes=notes,
        fields=fields,
        history=history,
        note_types=[kind.value for kind in NoteType],
        form_key=uuid4(),
    )
