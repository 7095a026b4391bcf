"""Idempotency-Key: a repeated request acts once."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import Engine

from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, ok, problem, scalar

NOTE = {"content": "once", "type": "General"}


def keyed(client: httpx.Client, path: str, key: str, json: object = None) -> httpx.Response:
    return client.post(path, json=json, headers={"Idempotency-Key": key})


def entries(db: Engine) -> int:
    return scalar(db, "SELECT count(*) FROM lead_activity_log")


@pytest.mark.parametrize(
    ("act", "body", "status"),
    [
        ("claim", None, 200),
        ("unclaim", None, 200),
        ("remove-from-campaign", {"reason": "stop"}, 200),
        ("notes", NOTE, 201),
    ],
)
def test_the_same_again_is_answered_the_same(
    server: Server, world: World, db: Engine, act: str, body: object, status: int
) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[1]}/{act}"
    if act == "unclaim":
        ok(client.post(path.replace("unclaim", "claim")))
    before = entries(db)
    first = keyed(client, path, "k", body)
    # What happens meanwhile does not change the answer that was given.
    engine_writes(db, "UPDATE leads SET company = 'Renamed' WHERE id = :l", l=world.leads[1])
    second = keyed(client, path, "k", body)
    assert ok(first, status) == ok(second, status)
    assert first.headers["content-type"] == second.headers["content-type"]
    assert entries(db) == before + 1


def test_an_unclaimed_repeat_does_not_claim_anew(server: Server, world: World, db: Engine) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[0]}"
    ok(keyed(client, f"{path}/claim", "k"))
    ok(client.post(f"{path}/unclaim"))
    ok(keyed(client, f"{path}/claim", "k"))
    assert scalar(db, "SELECT claimed_by FROM leads WHERE id = :l", l=world.leads[0]) is None


def test_the_same_key_for_another_request_is_422(server: Server, world: World, db: Engine) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[0]}/notes"
    ok(keyed(client, path, "k", NOTE), 201)
    for other_path, body in [
        (path, {**NOTE, "content": "twice"}),
        (path.replace(str(world.leads[0]), str(world.leads[1])), NOTE),
        (path.replace("notes", "claim"), None),
    ]:
        document = problem(keyed(client, other_path, "k", body), 422)
        assert document["type"] == "urn:reconciler:problem:idempotency-key-reused"
    assert entries(db) == 1


def test_keys_are_each_users_own(server: Server, world: World, db: Engine) -> None:
    path = f"/api/leads/{world.leads[0]}/notes"
    ok(keyed(server.as_user(world.user), path, "k", NOTE), 201)
    theirs = ok(keyed(server.as_user(world.colleague), path, "k", NOTE), 201)
    assert theirs["author"] == "Carl Weber"
    assert entries(db) == 2


def test_what_failed_did_nothing_and_may_be_tried_again(
    server: Server, world: World, db: Engine
) -> None:
    path = f"/api/leads/{world.leads[0]}"
    holder, other = server.as_user(world.user), server.as_user(world.colleague)
    ok(holder.post(f"{path}/claim"))
    problem(keyed(other, f"{path}/claim", "k"), 409)
    ok(holder.post(f"{path}/unclaim"))
    assert ok(keyed(other, f"{path}/claim", "k"))["claimed_by"]["name"] == "Carl Weber"


def test_a_key_is_forgotten_after_a_day(server: Server, world: World, db: Engine) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[0]}/notes"
    ok(keyed(client, path, "k", NOTE), 201)
    engine_writes(
        db, "UPDATE reconciler.idempotency_key SET created_at = now() - interval '25 hours'"
    )
    ok(keyed(client, path, "k", NOTE), 201)
    assert entries(db) == 2
    assert scalar(db, "SELECT count(*) FROM reconciler.idempotency_key") == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "tab\there"])
def test_unusable_keys_are_422(server: Server, world: World, db: Engine, key: str) -> None:
    path = f"/api/leads/{world.leads[0]}/claim"
    problem(keyed(server.as_user(world.user), path, key), 422)
    assert entries(db) == 0


def test_without_a_key_each_request_acts(server: Server, world: World, db: Engine) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[0]}/notes"
    ok(client.post(path, json=NOTE), 201)
    ok(client.post(path, json=NOTE), 201)
    assert entries(db) == 2
