"""What the console and the status endpoint read of the sync: runs, drift, conflicts and more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from reconciler_dagster.core import reading
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.core.values import Value
from reconciler_dagster.portal import plain
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.portal.problems import not_found
from reconciler_dagster.postgres.clients import directory
from reconciler_dagster.postgres.held import TOLD_SINGLY


@dataclass(frozen=True)
class Client:
    """A client whose leads are synced with a base of its own."""

    id: UUID
    company_name: str
    airtable_base_id: str


def clients(connection: Connection, user: User) -> list[Client]:
    """The active clients that the user sees."""
    rows = connection.execute(
        text("""
            SELECT id, company_name, airtable_base_id FROM reconciler.clients()
            WHERE is_active AND (:every OR id = :own) ORDER BY company_name, id
        """),
        {"every": user.role is Role.SUPER_ADMIN, "own": user.client_id},
    )
    return [Client(*row) for row in rows]


def require_client(among: Sequence[Client], client_id: UUID) -> Client:
    """The client of that id; raises a 404 problem when the user does not see it."""
    for client in among:
        if client.id == client_id:
            return client
    raise not_found("client")


_RUN = """
    SELECT run_id, purpose, scope, state, started_at, finished_at, counts, message,
           extract(epoch FROM coalesce(finished_at, now()) - started_at)::float AS seconds
    FROM reconciler.run_summary WHERE client_id = :client
"""


def runs(connection: Connection, client_id: UUID, limit: int = 30) -> Sequence[RowMapping]:
    """The last runs of a client, the newest first."""
    statement = text(f"{_RUN} ORDER BY started_at DESC LIMIT :limit")
    return connection.execute(statement, {"client": client_id, "limit": limit}).mappings().all()


def find_run(connection: Connection, client_id: UUID, run_id: str) -> RowMapping | None:
    """One run of a client."""
    statement = text(f"{_RUN} AND run_id = :run")
    return connection.execute(statement, {"client": client_id, "run": run_id}).mappings().first()


_HISTORY = """
    SELECT h.run_id, h.lead_id, h.field, h.side, h.old_value, h.new_value, h.changed_at,
           trim(concat_ws(' ', l.first_name, l.last_name)) AS lead_name
    FROM reconciler.history h LEFT JOIN public.leads l ON l.id = h.lead_id
"""


def history_of_lead(
    connection: Connection, lead_id: UUID, limit: int = 500
) -> Sequence[RowMapping]:
    """Each change that the engine applied to a lead, the newest first."""
    statement = text(
        f"{_HISTORY} WHERE h.lead_id = :lead ORDER BY h.changed_at DESC, h.id LIMIT :n"
    )
    return connection.execute(statement, {"lead": lead_id, "n": limit}).mappings().all()


def history_of_run(
    connection: Connection, client_id: UUID, run_id: str, limit: int = 500
) -> Sequence[RowMapping]:
    """Each change that one run applied."""
    statement = text(
        f"{_HISTORY} WHERE h.client_id = :client AND h.run_id = :run ORDER BY h.id LIMIT :n"
    )
    found = connection.execute(statement, {"client": client_id, "run": run_id, "n": limit})
    return found.mappings().all()


def conflicts(connection: Connection, client_id: UUID, limit: int = 200) -> Sequence[RowMapping]:
    """The last conflicts of a client with the lead as it is now, the newest first."""
    return (
        connection.execute(
            text("""
            SELECT c.id, c.run_id, c.lead_id, c.field, c.kind, c.winning_value, c.losing_value,
                   c.happened_at, c.restored_at, c.restored_by,
                   trim(concat_ws(' ', l.first_name, l.last_name)) AS lead_name,
                   coalesce(l.is_active, false) AS lead_is_active
            FROM reconciler.conflict c LEFT JOIN public.leads l ON l.id = c.lead_id
            WHERE c.client_id = :client ORDER BY c.happened_at DESC, c.id DESC LIMIT :limit
        """),
            {"client": client_id, "limit": limit},
        )
        .mappings()
        .all()
    )


def quarantine(connection: Connection, client_id: UUID, limit: int = 500) -> Sequence[RowMapping]:
    """The cells of a client that one side cannot take, the newest first. Many of one field with
    one reason are one row, an example, with the number of ``leads``.
    """
    return (
        connection.execute(
            text("""
            SELECT q.record_id, q.field, q.direction, q.value, q.reason, q.attempts,
                   q.first_seen_at, q.last_seen_at, q.next_attempt_at, l.id AS lead_id,
                   trim(concat_ws(' ', l.first_name, l.last_name)) AS lead_name,
                   CASE WHEN q.alike > :singly THEN q.alike ELSE 1 END AS leads
            FROM (SELECT *, count(*) OVER same AS alike, row_number() OVER same_in_order AS number
                  FROM reconciler.quarantine WHERE client_id = :client
                  WINDOW same AS (PARTITION BY field, direction, reason),
                  same_in_order AS (same ORDER BY last_seen_at DESC, record_id)) q
            LEFT JOIN public.leads l
                ON l.airtable_record_id = q.record_id AND l.client_id = q.client_id
            WHERE q.alike <= :singly OR q.number = 1
            ORDER BY q.last_seen_at DESC, q.record_id, q.field LIMIT :limit
        """),
            {"client": client_id, "limit": limit, "singly": TOLD_SINGLY},
        )
        .mappings()
        .all()
    )


def pending_deletions(
    connection: Connection, client_id: UUID, limit: int = 1000
) -> Sequence[RowMapping]:
    """The leads that are gone from Airtable and wait for a person's word."""
    return (
        connection.execute(
            text("""
            SELECT t.record_id, t.lead_id, t.missing_since, t.reason, l.email, l.company,
                   trim(concat_ws(' ', l.first_name, l.last_name)) AS lead_name
            FROM reconciler.tombstone t LEFT JOIN public.leads l ON l.id = t.lead_id
            WHERE t.client_id = :client AND t.state = 'awaiting_approval'
            ORDER BY t.missing_since, t.record_id LIMIT :limit
        """),
            {"client": client_id, "limit": limit},
        )
        .mappings()
        .all()
    )


@dataclass(frozen=True)
class FieldView:
    """One field of a lead on both sides, all in canonical form."""

    column: str
    airtable_name: str
    editable: bool
    portal: Value
    baseline: Value
    airtable: Value
    unreadable: bool
    """Airtable holds something that has no canonical form; the quarantine's reason says what."""
    agreed: bool
    quarantined: str | None

    @property
    def telling(self) -> bool:
        """Whether there is anything to see: a value on some side, or a difference."""
        values = (self.portal, self.baseline, self.airtable)
        return not self.agreed or any(value not in (None, "", []) for value in values)


def lead_fields(
    connection: Connection, sync: SyncMap, user: User, lead_id: UUID
) -> list[FieldView]:
    """The portal's value, the baseline, and Airtable's as last seen, field by field.

    Airtable was last seen to hold the baseline, save for a value that Postgres could not take.
    """
    row = connection.execute(
        text("""
            SELECT l.client_id, to_jsonb(l) AS lead, b.fields AS baseline,
                   (SELECT jsonb_object_agg(q.field || ' ' || q.direction,
                                            jsonb_build_array(q.value, q.reason))
                    FROM reconciler.quarantine q
                    WHERE q.client_id = l.client_id AND q.sync = :sync
                      AND q.record_id = l.airtable_record_id
                   ) AS quarantine
            FROM public.leads l
            LEFT JOIN reconciler.baseline b
                ON b.client_id = l.client_id AND b.sync = :sync
                AND b.record_id = l.airtable_record_id
            WHERE l.id = :lead
        """),
        {"lead": lead_id, "sync": sync.name},
    ).one()
    users = directory(connection, Pair(str(row.client_id), sync))
    baseline, held = row.baseline or {}, row.quarantine or {}
    views = []
    for field in sync.fields:
        inward = held.get(f"{field.column} to_postgres")
        outward = held.get(f"{field.column} to_airtable")
        portal = reading.held(row.lead, field, users)
        known, held_up = baseline.get(field.column), inward or outward
        views.append(
            FieldView(
                column=field.column,
                airtable_name=field.airtable,
                editable=field.both,
                portal=portal,
                baseline=known,
                airtable=inward[0] if inward else known,
                unreadable=inward is not None and inward[0] is None,
                agreed=field.column in baseline and portal == known and not inward,
                quarantined=plain.refusal(user, held_up[1]) if held_up else None,
            )
        )
    return views
