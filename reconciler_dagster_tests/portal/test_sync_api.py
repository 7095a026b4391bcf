"""Manual sync over the API: asked for, joined, followed; and the drift report."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from reconciler_dagster.portal import plain
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, ok, problem, rows, scalar

DELTA = "/api/admin/sync/delta"


def test_a_request_from_press_to_end(server: Server, world: World, db: Engine) -> None:
    client = server.as_user(world.admin)
    answer = client.post(DELTA)
    asked = ok(answer, 202)
    assert asked["state"] == "pending"
    assert asked["client_id"] == str(world.client)
    assert asked["requested_by"] == "ana@northwind.test"
    where = answer.headers["location"]
    assert ok(client.get(where)) == asked

    # Pressing again joins what waits.
    assert ok(client.post(DELTA), 202)["id"] == asked["id"]
    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'started', run_id = 'abc',"
        " started_at = now()"
    )  # fmt: skip
    started = ok(client.get(where))
    assert (started["state"], started["run_url"]) == ("started", None)
    shown = ok(server.as_user(world.root).get(where))
    assert shown == {**started, "run_url": "http://dagster.test/runs/abc"}
    # A run that has begun may have read the leads already: the next press asks anew.
    assert ok(client.post(DELTA), 202)["id"] != asked["id"]

    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'succeeded', finished_at = now(),"
        """ counts = '{"airtable_calls": 2, "remote_writes": 3}' WHERE run_id = 'abc'"""
    )  # fmt: skip
    done = ok(client.get(where))
    assert done["state"] == "succeeded"
    assert (done["counts"]["airtable_calls"], done["counts"]["remote_writes"]) == (2, 3)
    assert done["counts"]["conflicts"] == 0

    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'failed', message = 'No luck.'"
        " WHERE run_id = 'abc'"
    )  # fmt: skip
    failed = ok(client.get(where))
    assert (failed["state"], failed["message"]) == ("failed", plain.UNKNOWN)
    assert ok(server.as_user(world.root).get(where))["message"] == "No luck."


def test_who_may_sync_whom(server: Server, world: World, db: Engine) -> None:
    own, other = {"client_id": str(world.client)}, {"client_id": str(world.other_client)}
    user, admin = server.as_user(world.user), server.as_user(world.admin)
    root, stranger = server.as_user(world.root), server.as_user(world.stranger)
    problem(user.post(DELTA), 403)
    problem(user.post(DELTA, json=own), 403)
    problem(admin.post(DELTA, json=other), 404)
    problem(root.post(DELTA, json={"client_id": "00000000-0000-0000-0000-000000000000"}), 404)
    problem(root.post(DELTA), 409)
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 0
    mine = ok(admin.post(DELTA, json=own), 202)
    theirs = ok(root.post(DELTA, json=other), 202)
    assert theirs["client_id"] == str(world.other_client)

    problem(user.get(f"{DELTA}/{mine['id']}"), 403)
    problem(stranger.get(f"{DELTA}/{mine['id']}"), 404)
    problem(admin.get(f"{DELTA}/{theirs['id']}"), 404)
    ok(root.get(f"{DELTA}/{mine['id']}"))
    problem(admin.get(f"{DELTA}/999999"), 404)


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "9223372036854775808"])
def test_a_request_id_that_is_none(server: Server, world: World, wrong: str) -> None:
    problem(server.as_user(world.admin).get(f"{DELTA}/{wrong}"), 422)


def test_with_one_client_it_need_not_be_named(server: Server, world: World, db: Engine) -> None:
    engine_writes(db, "UPDATE clients SET is_active = false WHERE id = :c", c=world.other_client)
    root = server.as_user(world.root)
    assert ok(root.post(DELTA), 202)["client_id"] == str(world.client)
    problem(root.post(DELTA, json={"client_id": str(world.other_client)}), 404)


def test_the_drift_report(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        data.quarantine(connection, world.client, "recX", "notes", "x", "is odd")
        data.run(connection, world.client, airtable_calls=1)
    admin = server.as_user(world.admin)
    ok(admin.post(f"/api/leads/{world.leads[0]}/claim"))
    ok(admin.post(f"/api/leads/{world.leads[1]}/claim"))
    ok(
        admin.post(f"/api/leads/{world.leads[1]}/notes", json={"content": "x", "type": "General"}),
        201,
    )
    (report,) = ok(admin.get("/api/admin/sync/status"))["clients"]
    assert report["client_id"] == str(world.client)
    assert report["leads"] == {"airtable": 20, "baseline": 20, "postgres": 20}
    assert report["differing_fields"] == {"claimed_by": 2, "claimed_at": 2, "notes": 1}
    assert (report["unsettled"], report["quarantine"]) == (2, 1)
    assert report["deletions_pending"] == 0
    assert report["last_success_at"]


def test_who_sees_the_drift_report(server: Server, world: World) -> None:
    status = "/api/admin/sync/status"
    problem(server.as_user(world.user).get(status), 403)
    assert len(ok(server.as_user(world.root).get(status))["clients"]) == 2
    other = {"client_id": str(world.other_client)}
    problem(server.as_user(world.admin).get(status, params=other), 404)
    (report,) = ok(server.as_user(world.root).get(status, params=other))["clients"]
    assert report["client_id"] == str(world.other_client)


def test_the_web_request_does_no_sync(server: Server, world: World, db: Engine) -> None:
    """Old failure 16: the press only writes a row, whatever becomes of it."""
    ok(server.as_user(world.admin).post(DELTA), 202)
    (row,) = rows(db, "SELECT state, run_id, counts FROM reconciler.manual_sync_request")
    assert tuple(row) == ("pending", None, None)
