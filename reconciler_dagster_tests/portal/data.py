"""Two clients with their people and leads, as the portal and the engine would have left them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.postgres.clients import directory
from reconciler_dagster_tests.adopted import ADOPT
from reconciler_dagster_tests.mapping import LEADS

NAMES = [
    ("Ada", "Marsh"), ("Bruno", "Keller"), ("Chiara", "Rossi"), ("David", "Okafor"),
    ("Elif", "Demir"), ("Femi", "Adeyemi"), ("Greta", "Lund"), ("Hugo", "Martin"),
    ("Ines", "Silva"), ("Jonas", "Berg"), ("Karin", "Holm"), ("Leo", "Novak"),
    ("Mara", "Quinn"), ("Nils", "Voss"), ("Olga", "Petrova"), ("Pablo", "Ruiz"),
    ("Qi", "Zhang"), ("Rosa", "Vega"), ("Sven", "Dahl"), ("Tara", "Singh"),
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """What the tests act on."""

    client: UUID
    other_client: UUID
    root: User
    admin: User
    user: User
    colleague: User
    stranger: User
    leads: list[UUID]
    other_leads: list[UUID]


def build(engine: Engine) -> World:
    """A fresh world in an empty, migrated database."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        client = _client(connection, "Northwind Coaching", "appNorthwind00001")
        other = _client(connection, "Tailspin Events", "appTailspin000001")
        people = {
            "root": _user(connection, "root@agency.test", "Robin", "Reyes", Role.SUPER_ADMIN, None),
            "admin": _user(
                connection, "ana@northwind.test", "Ana", "Costa", Role.CLIENT_ADMIN, client
            ),
            "user": _user(
                connection, "uma@northwind.test", "Uma", "Patel", Role.CLIENT_USER, client
            ),
            "colleague": _user(
                connection, "carl@northwind.test", "Carl", "Weber", Role.CLIENT_USER, client
            ),
            "stranger": _user(
                connection, "sam@tailspin.test", "Sam", "Stone", Role.CLIENT_ADMIN, other
            ),
        }
        connection.execute(text(ADOPT))
        leads = [lead(connection, client, number) for number in range(20)]
        others = [lead(connection, other, number) for number in range(100, 103)]
        return World(client=client, other_client=other, leads=leads, other_leads=others, **people)


def _client(connection: Connection, name: str, base: str) -> UUID:
    return connection.execute(
        text("INSERT INTO clients (company_name, airtable_base_id) VALUES (:n, :b) RETURNING id"),
        {"n": name, "b": base},
    ).scalar_one()


def _user(
    connection: Connection, email: str, first: str, last: str, role: Role, client: UUID | None
) -> User:
    user_id = connection.execute(
        text("""
            INSERT INTO users (email, first_name, last_name, role, client_id)
            VALUES (:email, :first, :last, :role, :client) RETURNING id
        """),
        {"email": email, "first": first, "last": last, "role": role.value, "client": client},
    ).scalar_one()
    return User(user_id, email, f"{first} {last}", role, client)


def lead(connection: Connection, client: UUID, number: int) -> UUID:
    """A lead and its baseline, in step."""
    first, last = NAMES[number % len(NAMES)]
    row = connection.execute(
        text("""
            INSERT INTO leads AS l (client_id, airtable_record_id, first_name, last_name, email,
                phone, company, title, icp_score, status, processing_status, hrq_status,
                campaign_name, campaign_batch, notes, updated_at)
            VALUES (:client, :record, :first, :last, :email, :phone, :company, 'Head of Sales',
                :score, 'Delivered', 'In Sequence', 'Qualified', 'Autumn Webinar', 'Batch 7',
                :notes, now() - make_interval(mins => :number))
            RETURNING id, to_jsonb(l) AS lead
        """),
        {
            "client": client,
            "record": f"rec{number:014d}",
            "first": first,
            "last": last,
            "email": f"{first}.{last}{number}@example.test".lower(),
            "phone": f"+1 555 01{number:02d}",
            "company": f"{last} & Co",
            "score": 40 + number * 3 % 60,
            "notes": "Met at the fair, wants a call in December." if number % 3 == 0 else None,
            "number": number,
        },
    ).one()
    users = directory(connection)
    fields = {
        field.column: field.codec.from_postgres(row.lead[field.column], users) for field in LEADS
    }
    connection.execute(
        text("""
            INSERT INTO reconciler.baseline
                (client_id, record_id, lead_id, created_time, fields, verified_at)
            VALUES (:client, :record, :lead, now(), :fields, now())
        """),
        {
            "client": client,
            "record": f"rec{number:014d}",
            "lead": row.id,
            "fields": Jsonb(fields),
        },
    )
    return row.id


def conflict(
    connection: Connection, client: UUID, lead_id: UUID, field: str, won: Any, lost: Any
) -> int:
    """A conflict of two edits that Airtable has won."""
    kind = "both_edited" if LEADS[field].both else "owned_by_airtable"
    return connection.execute(
        text("""
            INSERT INTO reconciler.conflict (run_id, client_id, lead_id, record_id, field, kind,
                winning_value, losing_value)
            SELECT 'run-1', client_id, id, airtable_record_id, :field, :kind, :won, :lost
            FROM leads WHERE id = :lead AND client_id = :client RETURNING id
        """),
        {
            "client": client,
            "lead": lead_id,
            "field": field,
            "kind": kind,
            "won": Jsonb(won),
            "lost": Jsonb(lost),
        },
    ).scalar_one()


def quarantine(
    connection: Connection, client: UUID, record: str, field: str, value: Any, reason: str
) -> None:
    """A value that Airtable has refused."""
    connection.execute(
        text("""
            INSERT INTO reconciler.quarantine (client_id, record_id, field, direction, value,
                reason, attempts, next_attempt_at)
            VALUES (:client, :record, :field, 'to_airtable', :value, :reason, 3,
                now() + interval '40 minutes')
        """),
        {
            "client": client,
            "record": record,
            "field": field,
            "value": Jsonb(value),
            "reason": reason,
        },
    )


def run(
    connection: Connection,
    client: UUID,
    *,
    started: timedelta = timedelta(),
    purpose: str = "delta",
    state: str = "succeeded",
    seconds: float = 3.0,
    message: str | None = None,
    **counts: int,
) -> str:
    """A run that began so long ago."""
    run_id, start = str(uuid4()), datetime.now(UTC) - started
    connection.execute(
        text("""
            INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state,
                started_at, finished_at, counts, message)
            VALUES (:run, :client, :purpose, 'changed since', :state, :start, :end, :counts,
                :message)
        """),
        {
            "run": run_id,
            "client": client,
            "purpose": purpose,
            "state": state,
            "start": start,
            "end": start + timedelta(seconds=seconds),
            "counts": Jsonb(counts),
            "message": message,
        },
    )
    return run_id


def change(
    connection: Connection, lead_id: UUID, run_id: str, field: str, side: str, old: Any, new: Any
) -> None:
    """A change that the engine has applied."""
    connection.execute(
        text("""
            INSERT INTO reconciler.history (run_id, client_id, lead_id, record_id, field, side,
                old_value, new_value)
            SELECT :run, client_id, id, airtable_record_id, :field, :side, :old, :new
            FROM leads WHERE id = :lead
        """),
        {
            "run": run_id,
            "lead": lead_id,
            "field": field,
            "side": side,
            "old": Jsonb(old),
            "new": Jsonb(new),
        },
    )
