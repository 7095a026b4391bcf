"""The console's pages of a synced table, whichever it is, and of one of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Response

from reconciler_dagster.core.drift import unexplained
from reconciler_dagster.core.sync import MAIN
from reconciler_dagster.portal import admin_actions, entries, plain, rows, sides
from reconciler_dagster.portal.console.forms import Word, act
from reconciler_dagster.portal.console.session import SentForm, SignedInVisit
from reconciler_dagster.portal.models import SearchText
from reconciler_dagster.portal.shown import Shown, in_order
from reconciler_dagster.postgres.report import drift_report

router = APIRouter(prefix="/console", include_in_schema=False)

_ROWS = 25
Name = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
RecordId = Annotated[str, Path(max_length=255, pattern=r"^[^\x00]+$")]


@dataclass(frozen=True)
class Agreement:
    """How far both sides of a table agree. ``lines``: the fields that are stopped, and what nothing
    accounts for, in its words.
    """

    shown: Shown
    report: dict[str, Any]
    lines: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether every field is as it was last agreed."""
        return not (self.lines or self.report["differing_fields"])


def _agreements(visit: SignedInVisit, *names: str) -> list[Agreement]:
    found = []
    for name in names:
        pair, shown = visit.require_sync(name)
        with visit.portal.transaction() as connection:
            report = plain.report(visit.user, drift_report(connection, pair))
        lines = [*report["stopped_fields"], *(shown.said(line) for line in unexplained(report))]
        found.append(Agreement(shown, report, lines))
    return found


@router.get("/drift")
def drift(visit: SignedInVisit) -> Response:
    """How far both sides agree, table by table, as a fragment; of a single one field by field."""
    visit.require_client()
    found = _agreements(visit, *(one.name for one in in_order(visit.shown)))
    if len(found) == 1:
        return visit.page("_drift.html", agreement=found[0])
    return visit.page("_agreement.html", agreements=found)


@router.get("/tables")
def first(visit: SignedInVisit) -> Response:
    """To the first of the tables."""
    visit.require_client()
    return visit.go(in_order(visit.shown)[0].path)


@router.get("/tables/{name}")
def table(name: Name, visit: SignedInVisit, search: SearchText = "") -> Response:
    """One table: agreement, what waits for a person, the last changes, and its rows."""
    client = visit.require_client()
    _, shown = visit.require_sync(name)
    with visit.portal.transaction() as connection:
        of = (connection, client.id, visit.shown, name)
        found = [] if name == MAIN else rows.listed(connection, client.id, shown, search, _ROWS)
        return visit.page(
            "table.html",
            shown=shown,
            conflicts=entries.conflicts(*of, limit=25),
            quarantine=entries.quarantine(*of),
            deletions=entries.pending_deletions(*of),
            history=entries.history(connection, client.id, shown),
            found=found[:_ROWS],
            more=len(found) > _ROWS,
            search=search,
        )


@router.get("/tables/{name}/drift")
def drift_of_table(name: Name, visit: SignedInVisit) -> Response:
    """How far both sides of a table agree, field by field, as a fragment."""
    (found,) = _agreements(visit, name)
    return visit.page("_drift.html", agreement=found)


@router.get("/tables/{name}/{record_id}")
def row(name: Name, record_id: RecordId, visit: SignedInVisit) -> Response:
    """One row: both sides and the baseline, and the history of every field."""
    client = visit.require_client()
    pair, shown = visit.require_sync(name)
    with visit.portal.transaction() as connection:
        found = rows.find(connection, client.id, shown, record_id)
        if name == MAIN:
            return visit.go(found.path or "/leads")
        assert found.row_id is not None  # of a row that is there
        fields = sides.fields_of(connection, pair, visit.user, found.key)
        history = entries.history_by_field(connection, pair, found.row_id)
    return visit.page("row.html", shown=shown, row=found, fields=fields, history=history)


@router.post("/tables/{name}/choose")
def choose(
    name: Name,
    visit: SentForm,
    record_id: Word,
    field: Word,
    side: Annotated[Literal["airtable", "postgres"], Form()],
) -> Response:
    """Say which side's value stands of a cell that waits for a person to choose."""
    pair, shown = visit.require_sync(name)
    return act(
        visit,
        shown.path,
        lambda connection: admin_actions.choose(
            connection, pair, visit.user, record_id, field, side
        ),
        "Chosen. A sync was asked for: it carries the value over.",
    )
