"""What is wrong now, as the portal's Postgres knows it. Reads, and calls nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core import guard
from reconciler_dagster.core.adoption import State
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.windows import proof_allowed
from reconciler_dagster.notices import failures
from reconciler_dagster.notices.decide import Cause
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import without_lead_data
from reconciler_dagster.postgres import adoption, baseline, fights, rehearsals, runs
from reconciler_dagster.postgres import guard as guards
from reconciler_dagster.postgres.clients import Client, active_clients
from reconciler_dagster.postgres.migrate import tables_of
from reconciler_dagster.postgres.outcomes import DELTAS, failure, success
from reconciler_dagster.postgres.trigger import Watched
from reconciler_dagster.postgres.windows import oldest_verified, unproved_since
from reconciler_dagster.syncs.in_force import maps

# Failures count since the last success.
_SINCE = "coalesce(success.at, '-infinity')"
# What a delta, the audit and a Great Sync say is each a word of its own. A client that was paused
# has as long as ever for its next success.
_RUNS = f"""
    SELECT c.id::text AS client_id, g.purposes, success.at AS success_at,
        first.finished_at AS failing_since, last.finished_at AS failed_at, last.message,
        greatest(coalesce(success.at, least(first.finished_at, going.at)), a.changed_at)
            AS waits_since
    FROM reconciler.clients() c JOIN reconciler.adoption a ON a.client_id = c.id
    CROSS JOIN (VALUES ({DELTAS}), (ARRAY['audit']), (ARRAY['great_sync'])) AS g (purposes)
    LEFT JOIN LATERAL {success("last", "c.id", "g.purposes")} AS success (at) ON true
    LEFT JOIN LATERAL {failure("first", "c.id", "g.purposes", _SINCE)} AS first ON true
    LEFT JOIN LATERAL {failure("last", "c.id", "g.purposes", _SINCE)} AS last ON true
    LEFT JOIN LATERAL (
        SELECT min(started_at) AS at FROM reconciler.run_summary s
        WHERE s.client_id = c.id AND s.purpose = ANY(g.purposes) AND s.state = 'started'
    ) AS going ON true
    WHERE c.is_active AND a.state = 'adopted'
        AND coalesce(success.at, first.finished_at, going.at) IS NOT NULL
"""  # noqa: S608 - constants
# A person who looks at a rehearsal is not told that it waits.
_TIME_TO_LOOK = timedelta(hours=1)


@dataclass(frozen=True)
class View:
    """What every look needs. ``clients``: those that may be written; nobody waits for a run of the
    others. ``now``: by Postgres' clock; ``audit_calls``: an hour's; ``pairs``: every sync of each
    client; ``watched``: the tables whose edits are to be noted.
    """

    connection: Connection
    clients: list[Client]
    settings: NoticeSettings
    now: datetime
    audit_calls: int
    pairs: list[tuple[Client, Pair]]
    watched: list[Watched]

    def told(self, sentence: str) -> str:
        """A sentence as it may be told."""
        return sentence if self.settings.lead_data else without_lead_data(sentence)

    @property
    def names(self) -> dict[str, str]:
        """Of the clients, by id."""
        return {client.id: client.name for client in self.clients}


def observe(
    connection: Connection, settings: Settings, notices: NoticeSettings, now: datetime
) -> list[Cause]:
    """All that is wrong with the clients. Raises Unfit where some may be hidden."""
    clients, _ = adoption.adopted_clients(connection)
    pairs = [
        (client, Pair(client.id, sync))
        for client in clients
        for sync in maps(settings, client.base_id).values()
    ]
    watched = tables_of(maps(settings).values())
    view = View(connection, clients, notices, now, settings.audit_calls_per_hour, pairs, watched)
    looks = (
        *(_failing, _stopped, _quarantined, _fought, _deletions),
        *(_unnoted, _drifting, _unproved, _unapproved),
    )
    return [cause for look in looks for cause in look(view)]


def _failing(view: View) -> Iterator[Cause]:
    for row in view.connection.execute(text(_RUNS)):
        name = view.names.get(row.client_id)
        if name is None:
            continue
        if row.failed_at:
            message = row.message or "No reason is known."
            kind = failures.kind_of(message)
            if kind in failures.AT_ONCE or row.failed_at > row.failing_since:
                key = failures.key_of(kind, message, row.client_id)
                yield Cause(kind, key, name, row.failing_since, _why(view, kind, message))
        if "delta" in row.purposes:
            allowed = view.settings.success_within(row.client_id)
            if view.now - row.waits_since > allowed:
                detail = "" if row.success_at else "there never was one"
                yield Cause("no_success", "", name, row.waits_since, detail)


def _why(view: View, kind: str, message: str) -> str:
    if kind == "token_refused":
        return failures.token_of(message)
    if kind == "scope_lost":
        return failures.lack_of(message)
    return view.told(message) if kind in ("runs_fail", "base_gone") else ""


def _stopped(view: View) -> Iterator[Cause]:
    rows = view.connection.execute(
        text(
            "SELECT b.client_id::text, b.field, b.problem FROM reconciler.field_binding b "
            "JOIN reconciler.clients() c ON c.id = b.client_id "
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
            "FROM reconciler.quarantine q JOIN reconciler.clients() c ON c.id = q.client_id "
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
    for fight in fights.standing(view.connection):
        if name := view.names.get(fight.client_id):
            yield Cause("sides_fight", "", name, fight.began_at, fight.cells)


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
    """Of paused clients too: what is edited meanwhile must be noted."""
    looks = (guard.problems(guards.read_facts(view.connection, one)) for one in view.watched)
    if found := sorted({str(problem) for look in looks for problem in look}):
        detail = " ".join(found)
        for each in adoption.standings(view.connection).values():
            if each.state is not State.NEW:
                yield Cause("edits_unnoted", "", each.name, view.now, detail)


def _drifting(view: View) -> Iterator[Cause]:
    for name, run in runs.standing(view.connection, ["audit"], "drift"):
        if run.client_id in view.names and (lines := run.findings["drift"]):
            yield Cause("drift", "", name, view.now, " ".join(lines))


def _unproved(view: View) -> Iterator[Cause]:
    for client, pair in view.pairs:
        leads = baseline.count(view.connection, pair)
        if not leads or not view.audit_calls:
            continue
        never, stalest = oldest_verified(view.connection, pair)
        waiting = unproved_since(view.connection, pair) if never else None
        since = min((moment for moment in (stalest, waiting) if moment), default=view.now)
        if view.now - since > proof_allowed(leads, view.audit_calls):
            yield Cause("proof_old", "", client.name, since)


def _unapproved(view: View) -> Iterator[Cause]:
    shown = rehearsals.waiting(view.connection)
    for client in active_clients(view.connection):
        since = shown.get(client.id)
        if since is not None and view.now - since > _TIME_TO_LOOK:
            yield Cause("adoption_waits", "", client.name, since)
