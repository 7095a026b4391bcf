"""What is wrong now, as the portal's Postgres knows it. Reads, and calls nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from reconciler_dagster.core import guard
from reconciler_dagster.core.brakes import FIGHT_RUNS
from reconciler_dagster.core.windows import proof_allowed
from reconciler_dagster.notices import failures
from reconciler_dagster.notices.decide import Cause
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import without_lead_data
from reconciler_dagster.postgres import baseline, runs
from reconciler_dagster.postgres import guard as guards
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.runs import DRY
from reconciler_dagster.postgres.windows import oldest_verified

# What a delta, the audit and a Great Sync say is each a word of its own.
_RUNS = f"""
    SELECT c.id::text AS client_id, g.purposes, last.state, last.message, last.finished_at,
        success.at AS success_at, failed.first AS failing_since, failed.count AS failures,
        first.at AS first_at
    FROM public.clients c
    CROSS JOIN (VALUES (ARRAY['delta', 'manual']), (ARRAY['audit']), (ARRAY['great_sync']))
        AS g (purposes)
    LEFT JOIN LATERAL (
        SELECT max(finished_at) AS at FROM reconciler.run_summary s
        WHERE s.client_id = c.id AND s.purpose = ANY(g.purposes) AND s.state = 'succeeded'
        AND NOT {DRY} AND s.scope <> 'deletions') success ON true
    LEFT JOIN LATERAL (
        SELECT min(started_at) AS at FROM reconciler.run_summary s WHERE s.client_id = c.id
        AND s.purpose = ANY(g.purposes)) first ON true
    LEFT JOIN LATERAL (
        SELECT min(finished_at) AS first, count(*) FROM reconciler.run_summary s
        WHERE s.client_id = c.id AND s.purpose = ANY(g.purposes) AND s.state = 'failed'
        AND NOT {DRY} AND s.scope <> 'deletions'
        AND s.finished_at > coalesce(success.at, '-infinity')) failed ON true
    LEFT JOIN LATERAL (
        SELECT state, message, finished_at FROM reconciler.run_summary s
        WHERE s.client_id = c.id AND s.purpose = ANY(g.purposes) AND s.state <> 'started'
        AND NOT {DRY} AND s.scope <> 'deletions' ORDER BY s.started_at DESC LIMIT 1) last ON true
    WHERE c.is_active AND first.at IS NOT NULL
"""  # noqa: S608 - a constant


@dataclass(frozen=True)
class View:
    """What every look needs. ``now``: by Postgres' clock; ``audit_calls``: an hour's."""

    connection: Connection
    clients: list[Client]
    settings: NoticeSettings
    now: datetime
    audit_calls: int

    def told(self, sentence: str) -> str:
        """A sentence as it may be told."""
        return sentence if self.settings.lead_data else without_lead_data(sentence)

    @property
    def names(self) -> dict[str, str]:
        """Of the active clients, by id."""
        return {client.id: client.name for client in self.clients}


def observe(
    connection: Connection, settings: NoticeSettings, now: datetime, audit_calls: int
) -> list[Cause]:
    """All that is wrong with the active clients. Raises Unfit where some may be hidden."""
    view = View(connection, active_clients(connection), settings, now, audit_calls)
    looks = (_failing, _stopped, _quarantined, _fought, _deletions, _unnoted, _drifting, _unproved)
    return [cause for look in looks for cause in look(view)]


def _failing(view: View) -> Iterator[Cause]:
    for row in view.connection.execute(text(_RUNS)):
        name = view.names.get(row.client_id)
        if name is None:
            continue
        if row.state == "failed":
            message = row.message or "No reason is known."
            kind = failures.kind_of(message)
            if kind in failures.AT_ONCE or row.failures > 1:
                detail = view.told(message) if kind in ("runs_fail", "base_gone") else ""
                since = row.failing_since or row.finished_at
                yield Cause(kind, failures.key_of(kind, message), name, since, detail)
        if "delta" in row.purposes:
            since = row.success_at or row.first_at
            if view.now - since > view.settings.success_within(row.client_id):
                detail = "" if row.success_at else "there never was one"
                yield Cause("no_success", "", name, since, detail)


def _stopped(view: View) -> Iterator[Cause]:
    rows = view.connection.execute(
        text(
            "SELECT b.client_id::text, b.field, b.problem FROM reconciler.field_binding b "
            "JOIN public.clients c ON c.id = b.client_id "
            "WHERE c.is_active AND b.problem IS NOT NULL ORDER BY b.field"
        )
    )
    for client_id, field, problem in rows:
        if client_id in view.names:
            yield Cause("field_stopped", field, view.names[client_id], view.now, problem)


def _quarantined(view: View) -> Iterator[Cause]:
    rows = view.connection.execute(
        text(
            "SELECT q.client_id::text, q.reason LIKE '% runs in a row though nobody edited%', "
            "count(*), min(q.first_seen_at), array_agg(DISTINCT q.field ORDER BY q.field) "
            "FROM reconciler.quarantine q JOIN public.clients c ON c.id = q.client_id "
            "WHERE c.is_active GROUP BY 1, 2"
        )
    )
    limits = view.settings
    for client_id, fight, count, oldest, fields in rows:
        if client_id not in view.names:
            continue
        detail = f"{count} {'value' if count == 1 else 'values'} of {', '.join(fields[:5])}"
        if fight:
            yield Cause("sides_fight", "", view.names[client_id], oldest, detail)
        elif count > limits.quarantine_cells or view.now - oldest > timedelta(
            hours=limits.quarantine_hours
        ):
            yield Cause("quarantine", "", view.names[client_id], oldest, detail)


def _fought(view: View) -> Iterator[Cause]:
    """Cells that another writer changes back, on whichever side."""
    rows = view.connection.execute(
        text(
            "SELECT client_id::text, count(*), min(seen_at), "
            "array_agg(DISTINCT field ORDER BY field) FROM reconciler.fight "
            "WHERE runs >= :runs GROUP BY 1"
        ),
        {"runs": FIGHT_RUNS},
    )
    for client_id, count, since, fields in rows:
        if client_id in view.names:
            detail = f"{count} {'value' if count == 1 else 'values'} of {', '.join(fields[:5])}"
            yield Cause("sides_fight", "left alone", view.names[client_id], since, detail)


def _deletions(view: View) -> Iterator[Cause]:
    rows = view.connection.execute(
        text(
            "SELECT client_id::text, count(*), min(missing_since) FROM reconciler.tombstone "
            "WHERE state = 'awaiting_approval' GROUP BY 1"
        )
    )
    for client_id, count, oldest in rows:
        if client_id in view.names:
            detail = f"{count} {'lead' if count == 1 else 'leads'}"
            yield Cause("deletions_wait", "", view.names[client_id], oldest, detail)


def _unnoted(view: View) -> Iterator[Cause]:
    found = guard.problems(guards.look(view.connection))
    if found:
        detail = " ".join(map(str, found))
        for client in view.clients:
            yield Cause("edits_unnoted", "", client.name, view.now, detail)


def _drifting(view: View) -> Iterator[Cause]:
    for name, run in runs.standing(view.connection, ["audit"], "drift"):
        if lines := run.findings["drift"]:
            yield Cause("drift", "", name, view.now, " ".join(lines))


def _unproved(view: View) -> Iterator[Cause]:
    for client in view.clients:
        leads = baseline.count(view.connection, client.id)
        if not leads or not view.audit_calls:
            continue
        never, stalest = oldest_verified(view.connection, client.id)
        waiting = runs.unproved_since(view.connection, client.id) if never else None
        since = min((moment for moment in (stalest, waiting) if moment), default=view.now)
        if view.now - since > proof_allowed(leads, view.audit_calls):
            yield Cause("proof_old", "", client.name, since)
