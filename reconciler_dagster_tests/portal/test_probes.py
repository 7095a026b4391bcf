"""`/health`, `/ready` and `/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.notices import dagster
from reconciler_dagster.notices.dagster import Dagster
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.postgres import adoption
from reconciler_dagster_tests.notices.receivers import free_port
from reconciler_dagster_tests.portal.conftest import SECRET, Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, problem

Serve = Callable[..., Server]


def daemon_seen(db: Engine, ago: float, looked: float = 0) -> None:
    now = datetime.now(UTC) - timedelta(seconds=looked)
    with db.begin() as connection:
        dagster.note(connection, Dagster(now, {"SENSOR": now.timestamp() - ago}))


def synced(db: Engine, client: UUID, minutes: float) -> None:
    with db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, "
                "finished_at) VALUES (gen_random_uuid(), :client, 'delta', 'changed', 'succeeded', "
                "clock_timestamp() - make_interval(mins => :minutes))"
            ),
            {"client": client, "minutes": int(minutes)},
        )


def test_it_is_ready_when_all_is_there(server: Server, world: World, db: Engine) -> None:
    daemon_seen(db, 10)
    for client in (world.client, world.other_client):
        synced(db, client, 10)
    answer: Any = ok(server.client().get("/ready"))
    assert (answer["ready"], answer["daemon"], answer["migrations"]) == (True, "ok", "ok")
    assert {client["client_id"] for client in answer["clients"]} == {
        str(world.client),
        str(world.other_client),
    }
    assert not any(client["late"] for client in answer["clients"])


@pytest.mark.parametrize(
    ("ago", "looked", "word"), [(100, 0, "silent"), (10, 100, "unseen"), (None, None, "unseen")]
)
def test_a_daemon_that_is_dead_or_that_nobody_looks_at(
    server: Server, world: World, db: Engine, ago: float, looked: float, word: str
) -> None:
    for client in (world.client, world.other_client):
        synced(db, client, 10)
    if ago is not None:
        daemon_seen(db, ago, looked)
    answer = server.client().get("/ready")
    assert answer.status_code == 503
    assert (answer.json()["ready"], answer.json()["daemon"]) == (False, word)
    assert ok(server.client().get("/ready?of=portal"))["ready"] is True  # type: ignore[call-overload, index]


def test_a_client_without_a_success(server: Server, world: World, db: Engine) -> None:
    daemon_seen(db, 10)
    synced(db, world.client, 31)
    answer = server.client().get("/ready")
    assert answer.status_code == 503
    late = {each["client_id"]: each["late"] for each in answer.json()["clients"]}
    assert late == {str(world.client): True, str(world.other_client): True}


def test_without_migrations_it_is_not_ready(server: Server, db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(text("UPDATE reconciler.alembic_version SET version_num = '0001'"))
    answer = server.client().get("/ready?of=portal")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "missing")


def test_without_a_database_it_is_alive_and_not_ready(serve: Serve) -> None:
    gone = Settings(
        database_url=SecretStr(f"postgresql://nobody:hunter2secret@127.0.0.1:{free_port()}/x"),
        portal_jwt_secret=SecretStr(SECRET),
    )
    client = serve(gone).client()
    assert ok(client.get("/health")) == {"status": "ok", "doorbell": "unknown"}
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")
    assert "hunter2secret" not in answer.text


def test_metrics_are_for_this_machine_or_for_whoever_has_the_token(
    serve: Serve, world: World
) -> None:
    open_here = serve().client()
    assert "reconciler_queue" not in open_here.get("/metrics").text  # nobody has looked yet
    assert "reconciler_requests_waiting 0.0" in open_here.get("/metrics").text
    for header in ("X-Forwarded-For", "Forwarded", "Via"):
        problem(open_here.get("/metrics", headers={header: "127.0.0.1"}), 403)
    closed = serve(metrics_token=SecretStr("metrics-0123456789abcdef")).client()
    problem(closed.get("/metrics"), 401)
    problem(closed.get("/metrics", headers={"Authorization": "Bearer metrics-0"}), 401)
    headers = {"Authorization": "Bearer metrics-0123456789abcdef", "X-Forwarded-For": "1.2.3.4"}
    assert closed.get("/metrics", headers=headers).status_code == 200


def test_a_client_that_nobody_has_adopted_and_one_that_is_paused_keep_nothing_from_being_ready(
    server: Server, world: World, db: Engine
) -> None:
    daemon_seen(db, 10)
    synced(db, world.client, 10)
    with db.begin() as connection:
        adoption.pause(connection, str(world.other_client), "Ann")
        connection.execute(
            text(
                "INSERT INTO clients (company_name, airtable_base_id) "
                "VALUES ('New', 'appNew00000000000')"
            )
        )
    answer: Any = ok(server.client().get("/ready"))
    assert [each["client_id"] for each in answer["clients"]] == [str(world.client)]


def test_the_notices_page_is_for_who_sees_all(
    server: Server, world: World, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_ENVIRONMENT", "production")
    root = signed_in(server, world.root)
    page = root.get("/console/notices")
    assert page.status_code == 200
    assert "Nothing was wrong yet." in page.text
    assert "Nobody is told: no channel is set." in page.text
    assert "0 calls are spent" in page.text
    with db.begin() as connection:
        for n in range(7):
            connection.execute(
                text(
                    "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, "
                    "finished_at, message) VALUES (gen_random_uuid(), :client, 'delta', 'changed', "
                    "'failed', clock_timestamp(), 'AIRTABLE_API_KEY is not accepted by Airtable')"
                ),
                {"client": world.client if n % 2 else world.other_client},
            )
    Keeper(server.portal.settings, NoticeSettings(settle_seconds=0)).look()
    page = root.get("/console/notices")
    assert "Airtable refuses the token: AIRTABLE_API_KEY." in page.text
    assert "Northwind Coaching, Tailspin Events" in page.text
    for user in (world.admin, world.user):
        assert signed_in(server, user).get("/console/notices").status_code == 403
    assert "Notices" not in signed_in(server, world.admin).get("/console").text
