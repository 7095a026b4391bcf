"""What the portal's own pages send, and what they read of the answers (docs/portal-ui.md)."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine

from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, ok, problem, rows, scalar

DELTA = "/api/admin/sync/delta"


def test_a_claimed_lead_is_read_at_the_top_or_below_lead(server: Server, world: World) -> None:
    client, lead_id = server.as_user(world.user), str(world.leads[0])
    claimed = ok(client.post(f"/api/leads/{lead_id}/claim"))
    for lead in (claimed, claimed["lead"], ok(client.get(f"/api/leads/{lead_id}"))):
        assert (lead["id"], lead["firstName"], lead["lastName"]) == (lead_id, "Ada", "Marsh")
        assert lead["claimedBy"] == "Uma Patel", "it is printed as it comes"
        assert lead["claimedAt"] == claimed["claimed_at"]
        assert lead["airtableRecordId"] == claimed["airtable_record_id"]
        assert {"icpScore", "clientId", "createdAt", "processingStatus"} <= lead.keys()
    free = ok(client.post(f"/api/leads/{lead_id}/unclaim"))
    assert (free["claimedBy"], free["claimedAt"]) == (None, None)
    assert free["lead"]["claimedBy"] is None


@pytest.mark.parametrize("body", [{"content": "Rang."}, {"note": "Rang."}])
def test_a_note_without_a_type_by_either_name(
    server: Server, world: World, body: dict[str, str]
) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[1]}/notes"
    added = ok(client.post(path, json=body), 201)
    assert (added["success"], added["type"], added["content"]) == (True, "General", "Rang.")
    assert added["notes"].endswith(" Uma Patel: Rang.")
    assert added["lead"]["firstName"] == "Bruno"


def test_the_list_of_notes(server: Server, world: World, db: Engine) -> None:
    """The newest first; those that the old portal wrote into Airtable are read as such."""
    client, lead_id = server.as_user(world.user), world.leads[0]
    engine_writes(
        db,
        "UPDATE leads SET notes = :n WHERE id = :l",
        l=lead_id,
        n="Typed in Airtable.\n[Call] 2025-11-12T10:00:00.000Z - Ann Lee:\nNo answer.\nTwice.",
    )
    path = f"/api/leads/{lead_id}/notes"
    ok(client.post(path, json={"note": "Rang."}), 201)
    newest, old, typed = ok(client.get(path, params={"as_list": True}))
    assert set(newest) == {"timestamp", "user", "content", "type"}
    assert (newest["user"], newest["content"], newest["type"]) == ("Uma Patel", "Rang.", "General")
    assert (old["user"], old["content"]) == ("Ann Lee", "No answer.\nTwice.")
    assert (old["type"], old["timestamp"]) == ("Call", "2025-11-12T10:00:00Z")
    assert (typed["user"], typed["content"]) == ("Airtable", "Typed in Airtable.")
    assert datetime.fromisoformat(typed["timestamp"])
    problem(server.as_user(world.stranger).get(path, params={"as_list": True}), 404)


def test_removal_says_what_it_wrote(server: Server, world: World) -> None:
    path = f"/api/leads/{world.leads[0]}/remove-from-campaign"
    done = ok(server.as_user(world.user).post(path, json={"reason": "asked"}))
    assert done["success"] is True
    assert done["airtableRecordId"] == "rec00000000000000"
    assert done["updatedFields"] == {
        "Processing Status": "Stopped",
        "SMS Stop": True,
        "SMS Stop Reason": "asked",
        "SMS Batch Control": None,
    }
    assert datetime.fromisoformat(done["timestamp"])


def test_every_entry_of_the_log_is_of_a_kind_that_the_pages_filter_by(
    server: Server, world: World, db: Engine
) -> None:
    client, lead_id = server.as_user(world.user), world.leads[0]
    ok(client.post(f"/api/leads/{lead_id}/claim"))
    ok(client.post(f"/api/leads/{lead_id}/notes", json={"note": "x"}), 201)
    ok(client.post(f"/api/leads/{lead_id}/remove-from-campaign", json={"reason": "x"}))
    ok(client.post(f"/api/leads/{lead_id}/unclaim"))
    found = rows(
        db,
        "SELECT event_type, event_category, source, client_id FROM lead_activity_log "
        "WHERE lead_id = :l ORDER BY timestamp",
        l=lead_id,
    )
    assert [tuple(row[:3]) for row in found] == [
        ("LEAD_CLAIMED", "MANUAL", "ui:lead-claim"),
        ("NOTE_ADDED", "MANUAL", "ui:note-add"),
        ("CAMPAIGN_REMOVED", "CAMPAIGN", "ui:campaign-remove"),
        ("LEAD_UNCLAIMED", "MANUAL", "ui:lead-unclaim"),
    ]
    assert {row.client_id for row in found} == {world.client}, "client users see only their own"


def test_minutes_stand_for_every_client_that_the_user_sees(
    server: Server, world: World, db: Engine
) -> None:
    root = server.as_user(world.root)
    problem(root.post(DELTA), 409)
    answer = root.post(DELTA, json={"minutes": 20})
    asked = ok(answer, 202)
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 2
    assert (asked["success"], asked["triggeredBy"], asked["minutes"]) == (
        True,
        "root@agency.test",
        20,
    )
    assert asked["message"].startswith("A sync of 2 clients has been asked for")
    assert asked["results"]["stage1"]["processed"] == asked["results"]["stage2"]["updated"] == 0
    assert asked["duration"] == "0.00s"
    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'succeeded', started_at = now(),"
        " finished_at = now() + interval '2.5 s', counts = :c",
        c='{"pulled": 3, "remote_writes": 2, "conflicts": 1, "quarantined": 4}',
    )  # fmt: skip
    done = ok(root.get(answer.headers["location"]))
    assert done["results"]["stage1"]["processed"] == 3
    assert done["results"]["stage2"] == {
        "updated": 2,
        "skipped": 1,
        "errors": 4,
        "description": "PostgreSQL → Airtable",
    }
    assert done["duration"] == "2.50s"
    assert done["message"] == (
        "Delta sync complete: Stage 1 processed 3 leads, Stage 2 updated 2 leads"
    )
    own = ok(server.as_user(world.admin).post(DELTA, json={"minutes": 1440}), 202)
    assert own["client_id"] == str(world.client)
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 3


@pytest.mark.parametrize("minutes", [0, 1441, -1, "20", True, []])
def test_minutes_that_are_none(server: Server, world: World, minutes: object) -> None:
    document = problem(server.as_user(world.root).post(DELTA, json={"minutes": minutes}), 422)
    assert (document["code"], document["field"]) == ("VALIDATION_ERROR", "minutes")
    assert document["error"].startswith("minutes: ")


def test_errors_have_the_names_that_the_pages_read(server: Server, world: World) -> None:
    client = server.as_user(world.user)
    absent = problem(client.post(f"/api/leads/{world.other_leads[0]}/claim"), 404)
    assert (absent["error"], absent["code"]) == (absent["detail"], "NOT_FOUND")
    nobody = problem(server.client().post(f"/api/leads/{world.leads[0]}/claim"), 401)
    assert nobody["code"] == "UNAUTHORIZED"
    assert problem(client.post(DELTA), 403)["code"] == "FORBIDDEN"
    path = f"/api/leads/{world.leads[0]}/remove-from-campaign"
    blank = problem(client.post(path, json={"reason": " "}), 422)
    assert (blank["code"], blank["field"]) == ("VALIDATION_ERROR", "reason")


@pytest.mark.parametrize(("legacy", "role"), [("ADMIN", "admin"), ("CLIENT", "user")])
@pytest.mark.parametrize("in_token", [True, False])
def test_the_roles_of_before(
    server: Server, world: World, db: Engine, legacy: str, role: str, in_token: bool
) -> None:
    """In the users table alone, as register still writes it, and in the token too."""
    import jwt

    user = getattr(world, role)
    engine_writes(db, "UPDATE users SET role = :r WHERE id = :u", r=legacy, u=user.id)
    token = server.token(user)
    if in_token:
        claims = jwt.decode(token, options={"verify_signature": False})
        token = jwt.encode(claims | {"role": legacy}, server.portal.tokens._secret, "HS256")
    client = server.client({"Authorization": f"Bearer {token}"})
    ok(client.post(f"/api/leads/{world.leads[0]}/claim"))
    problem(client.post(f"/api/leads/{world.other_leads[0]}/claim"), 404)
    status = client.get("/api/admin/sync/status")
    assert status.status_code == (200 if role == "admin" else 403)


def test_a_role_that_is_not_known_is_refused(server: Server, world: World, db: Engine) -> None:
    for other in ("admin", "", "OWNER"):
        engine_writes(db, "UPDATE users SET role = :r WHERE id = :u", r=other, u=world.admin.id)
        problem(server.as_user(world.admin).get("/api/leads"), 401)
