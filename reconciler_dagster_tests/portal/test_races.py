"""Many at once: claims, repeated requests, presses. Each test runs real threads over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from reconciler_dagster.portal import sync_requests
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, problem, rows, scalar

Answer = TypeVar("Answer")


def at_once(calls: list[Callable[[], Answer]]) -> list[Answer]:
    """All of them, let go at the same moment."""
    gate = Barrier(len(calls))

    def wait_and_call(call: Callable[[], Answer]) -> Answer:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and_call, calls))


def fifty_users(db: Engine, world: World) -> list[User]:
    with db.begin() as connection:
        found = connection.execute(
            text("""
                INSERT INTO users (email, first_name, last_name, client_id)
                SELECT 'user' || n || '@northwind.test', 'User', n::text, :client
                FROM generate_series(1, 50) n RETURNING id, email, last_name
            """),
            {"client": world.client},
        )
        return [
            User(row.id, row.email, f"User {row.last_name}", Role.CLIENT_USER, world.client)
            for row in found
        ]


def test_fifty_users_claim_the_same_twenty_leads(server: Server, world: World, db: Engine) -> None:
    users = fifty_users(db, world)

    def claim_all(user: User) -> Callable[[], Any]:
        client = server.as_user(user)

        def run() -> list[httpx.Response]:
            return [client.post(f"/api/leads/{lead_id}/claim") for lead_id in world.leads]

        return run

    answers = [answer for each in at_once([claim_all(user) for user in users]) for answer in each]
    assert Counter(answer.status_code for answer in answers) == {200: 20, 409: 980}
    won = {answer.json()["id"]: answer.json()["claimed_by"]["id"] for answer in answers
           if answer.status_code == 200}  # fmt: skip
    leads = {
        str(row.id): str(row.claimed_by)
        for row in rows(db, "SELECT id, claimed_by FROM leads WHERE claimed_by IS NOT NULL")
    }
    log = {
        str(row.lead_id): row.created_by
        for row in rows(db, "SELECT lead_id, created_by FROM lead_activity_log")
    }
    assert won == leads == log
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 20
    assert scalar(db, "SELECT count(*) FROM reconciler.unsettled") == 20
    names = {str(user.id): user.name for user in users}
    for answer in answers:
        if answer.status_code == 409:
            lead_id = str(answer.url).split("/")[-2]
            assert answer.json()["holder"] == names[leads[lead_id]]


def test_notes_at_once_are_all_kept(server: Server, world: World, db: Engine) -> None:
    client, lead_id = server.as_user(world.user), world.leads[1]

    def write(number: int) -> Callable[[], httpx.Response]:
        note = {"content": f"note {number}.", "type": "General"}
        return lambda: client.post(f"/api/leads/{lead_id}/notes", json=note)

    for answer in at_once([write(number) for number in range(30)]):
        ok(answer, 201)
    notes = scalar(db, "SELECT notes FROM leads WHERE id = :l", l=lead_id)
    assert all(notes.count(f" note {number}.") == 1 for number in range(30))
    assert len(notes.splitlines()) == 30


def test_the_same_request_at_once_acts_once(server: Server, world: World, db: Engine) -> None:
    client, lead_id = server.as_user(world.user), world.leads[1]
    note = {"content": "once", "type": "General"}

    def call() -> httpx.Response:
        return client.post(
            f"/api/leads/{lead_id}/notes", json=note, headers={"Idempotency-Key": "k-1"}
        )

    answers = [ok(answer, 201) for answer in at_once([call] * 30)]
    assert all(answer == answers[0] for answer in answers)
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 1
    assert scalar(db, "SELECT notes FROM leads WHERE id = :l", l=lead_id).count("once") == 1


def test_two_requests_with_one_key_at_once(server: Server, world: World, db: Engine) -> None:
    client = server.as_user(world.user)

    def call(number: int) -> Callable[[], httpx.Response]:
        return lambda: client.post(
            f"/api/leads/{world.leads[number]}/claim", headers={"Idempotency-Key": "k-1"}
        )

    answers = at_once([call(number) for number in range(10)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 422: 9}
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 1


def test_presses_at_once_are_one_request(server: Server, world: World, db: Engine) -> None:
    client = server.as_user(world.admin)
    answers = at_once([lambda: client.post("/api/admin/sync/delta")] * 20)
    assert len({ok(answer, 202)["id"] for answer in answers}) == 1
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 1


def test_a_second_press_waits_for_the_first(world: World, db: Engine) -> None:
    """It could not see the first one's row yet, and would ask again."""
    with db.begin() as first:
        sync_requests.put(first, world.client, "a")
        with db.connect() as second:
            second.execute(text("SET LOCAL lock_timeout = '300ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                sync_requests.put(second, world.client, "b")
        with db.begin() as other:
            sync_requests.put(other, world.other_client, "c")
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 2


def test_a_joined_request_starts_only_with_the_edit_there(world: World, db: Engine) -> None:
    """Who joins a waiting request must have the own edit read by its run: the run's taking over
    waits until the joining transaction has committed its edit.
    """
    take_over = text("""
        UPDATE reconciler.manual_sync_request SET state = 'started' WHERE state = 'pending'
    """)
    with db.begin() as connection:
        first = sync_requests.put(connection, world.client, "a")
    with db.begin() as joining:
        assert sync_requests.put(joining, world.client, "b") == first
        with db.connect() as run:
            run.execute(text("SET LOCAL lock_timeout = '300ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                run.execute(take_over)
    with db.begin() as run:
        run.execute(take_over)
    with db.begin() as connection:
        assert sync_requests.put(connection, world.client, "c") != first


def test_taking_back_at_once_happens_once(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        conflict = data.conflict(
            connection, world.client, world.leads[0], "hrq_status", "Qualified", "Review"
        )
    client = signed_in(server, world.admin)
    answers = at_once([lambda: client.post(f"/console/conflicts/{conflict}/take-back")] * 10)
    assert {answer.status_code for answer in answers} == {303}
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 1


def test_a_press_while_the_database_is_busy_is_no_500(
    server: Server, world: World, db: Engine
) -> None:
    """More at once than the pool has connections: the others wait their turn."""
    client = server.as_user(world.user)
    answers = at_once([lambda: client.get("/api/leads")] * 60)
    assert {answer.status_code for answer in answers} == {200}
    problem(client.get("/api/nothing"), 404)
