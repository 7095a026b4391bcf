"""The leads' routes: what they answer, what they write, and who may use them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, log, ok, problem, rows, scalar

ACTS = {
    "claim": None,
    "unclaim": None,
    "remove-from-campaign": {"reason": "asked to stop"},
    "notes": {"content": "A word.", "type": "General"},
}


def unsettled(db: Engine, lead_id: object) -> int:
    return scalar(db, "SELECT count(*) FROM reconciler.unsettled WHERE lead_id = :l", l=lead_id)


# Lists


def test_list_is_of_the_own_client(server: Server, world: World) -> None:
    own = ok(server.as_user(world.user).get("/api/leads", params={"page_size": 200}))
    assert {lead["client_id"] for lead in own["items"]} == {str(world.client)}
    assert own["total"] == len(own["items"]) == 20
    every = ok(server.as_user(world.root).get("/api/leads"))
    assert every["total"] == 23
    one = ok(server.as_user(world.root).get("/api/leads", params={"client_id": world.other_client}))
    assert one["total"] == 3
    problem(
        server.as_user(world.admin).get("/api/leads", params={"client_id": world.other_client}),
        404,
    )


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("marsh", ["Ada"]),
        ("ada marsh", ["Ada"]),
        ("MARSH ada0@", []),
        ("ada.marsh0@example", ["Ada"]),
        ("+1 555 0107", ["Hugo"]),
        ("Okafor & Co", ["David"]),
        ("%", []),
        ("_", []),
        ("\\", []),
        ("'; DROP TABLE leads --", []),
    ],
)
def test_search(server: Server, world: World, search: str, found: list[str]) -> None:
    answer = ok(server.as_user(world.user).get("/api/leads", params={"search": search}))
    assert [lead["first_name"] for lead in answer["items"]] == found


def test_blank_search_finds_everything(server: Server, world: World) -> None:
    answer = ok(server.as_user(world.user).get("/api/leads", params={"search": "  "}))
    assert answer["total"] == 20


def test_filters(server: Server, world: World, db: Engine) -> None:
    client = server.as_user(world.user)
    ok(client.post(f"/api/leads/{world.leads[0]}/claim"))
    ok(server.as_user(world.colleague).post(f"/api/leads/{world.leads[1]}/claim"))
    with db.begin() as connection:
        data.quarantine(connection, world.client, "rec" + "2".zfill(14), "notes", "x", "is odd")

    def total(**asked: str) -> int:
        return int(ok(client.get("/api/leads", params=asked))["total"])

    assert total(claimed="me") == 1
    assert total(claimed="anyone") == 2
    assert total(claimed="nobody") == 18
    assert total(sync="waiting") == 2
    assert total(sync="quarantined") == 1
    assert total(sync="in_step") == 17
    assert total(status="Delivered") == 20
    assert total(status="Sent") == total(processing_status="Stopped") == total(hrq_status="") == 0
    assert total(active="false") == 0


def test_sort_and_pages(server: Server, world: World) -> None:
    client = server.as_user(world.user)
    for sort in ("name", "company", "icp_score", "updated_at", "created_at", "claimed_at"):
        ids = [
            [
                lead["id"]
                for page in (1, 2, 3)
                for lead in ok(
                    client.get("/api/leads", params={"sort": order, "page": page, "page_size": 7})
                )["items"]
            ]
            for order in (sort, f"-{sort}")
        ]
        assert set(ids[0]) == set(ids[1]) == {str(lead) for lead in world.leads}
    names = [
        lead["last_name"] for lead in ok(client.get("/api/leads", params={"sort": "name"}))["items"]
    ]
    assert names == sorted(names)
    problem(client.get("/api/leads", params={"sort": "id; DROP TABLE leads"}), 422)
    problem(client.get("/api/leads", params={"page": 0}), 422)
    problem(client.get("/api/leads", params={"page_size": 201}), 422)
    problem(client.get("/api/leads?search=%00"), 422)


# Another client's leads


@pytest.mark.parametrize("act", ["", "/notes", *(f"/{name}" for name in ACTS)])
def test_anothers_lead_is_404_like_none(server: Server, world: World, db: Engine, act: str) -> None:
    foreign, absent = world.other_leads[0], uuid4()
    for user in (world.user, world.admin):
        client = server.as_user(user)
        answers = []
        for lead_id in (foreign, absent):
            path = f"/api/leads/{lead_id}{act}"
            body = ACTS.get(act.strip("/"))
            reads = act in ("", "/notes")
            if reads:
                answers.append(problem(client.get(path), 404))
            if act.strip("/") in ACTS:
                answers.append(problem(client.post(path, json=body), 404))
        assert all(answer == answers[0] for answer in answers)
    assert log(db, foreign) == []
    assert unsettled(db, foreign) == 0


def test_super_admin_acts_everywhere(server: Server, world: World) -> None:
    client = server.as_user(world.root)
    for lead_id in (world.leads[0], world.other_leads[0]):
        for act, body in ACTS.items():
            assert client.post(f"/api/leads/{lead_id}/{act}", json=body).is_success


# Claims


def test_claim_and_unclaim(server: Server, world: World, db: Engine) -> None:
    client, lead_id = server.as_user(world.user), world.leads[0]
    before = ok(client.get(f"/api/leads/{lead_id}"))
    assert before["sync"] == "in_step"
    claimed = ok(client.post(f"/api/leads/{lead_id}/claim"))
    assert claimed["claimed_by"] == {
        "id": str(world.user.id),
        "name": "Uma Patel",
        "email": "uma@northwind.test",
    }
    assert datetime.fromisoformat(claimed["claimed_at"]) <= datetime.now(UTC)
    # Airtable keeps milliseconds: more would never come to agree.
    microsecond = scalar(
        db,
        "SELECT extract(microseconds FROM claimed_at)::int % 1000 FROM leads WHERE id = :l",
        l=lead_id,
    )
    assert microsecond == 0
    assert claimed["updated_at"] > before["updated_at"]
    assert claimed["sync"] == "waiting"

    again = ok(client.post(f"/api/leads/{lead_id}/claim"))
    assert again == claimed
    taken = problem(server.as_user(world.colleague).post(f"/api/leads/{lead_id}/claim"), 409)
    assert taken["holder"] == "Uma Patel"
    assert "Uma Patel" in taken["detail"]

    free = ok(client.post(f"/api/leads/{lead_id}/unclaim"))
    assert (free["claimed_by"], free["claimed_at"]) == (None, None)
    assert ok(client.post(f"/api/leads/{lead_id}/unclaim")) == free
    # Only what changed something was written: two edits, two entries.
    assert log(db, lead_id) == ["LEAD_CLAIMED", "LEAD_UNCLAIMED"]
    assert unsettled(db, lead_id) == 2


def test_unclaim_is_for_the_holder_or_an_admin(server: Server, world: World, db: Engine) -> None:
    lead_id = world.leads[0]
    ok(server.as_user(world.user).post(f"/api/leads/{lead_id}/claim"))
    problem(server.as_user(world.colleague).post(f"/api/leads/{lead_id}/unclaim"), 403)
    assert scalar(db, "SELECT claimed_by FROM leads WHERE id = :l", l=lead_id) == world.user.id
    ok(server.as_user(world.admin).post(f"/api/leads/{lead_id}/unclaim"))
    assert scalar(db, "SELECT claimed_by FROM leads WHERE id = :l", l=lead_id) is None


def test_the_log_says_who_and_what(server: Server, world: World, db: Engine) -> None:
    lead_id = world.leads[0]
    ok(server.as_user(world.user).post(f"/api/leads/{lead_id}/claim"))
    (entry,) = rows(db, "SELECT * FROM lead_activity_log WHERE lead_id = :l", l=lead_id)
    assert entry.client_id == world.client
    assert entry.lead_airtable_id == "rec00000000000000"
    assert entry.created_by == str(world.user.id)
    assert (entry.event_category, entry.source) == ("MANUAL", "ui:lead-claim")
    (shown,) = ok(server.as_user(world.user).get(f"/api/leads/{lead_id}"))["activity"]
    assert shown["author"] == "Uma Patel"
    assert shown["event_type"] == "LEAD_CLAIMED"


# Removal from the campaign


def test_remove_from_campaign(server: Server, world: World, db: Engine) -> None:
    client, lead_id = server.as_user(world.user), world.leads[0]
    path = f"/api/leads/{lead_id}/remove-from-campaign"
    lead = ok(client.post(path, json={"reason": "  asked\nto stop "}))
    assert lead["processing_status"] == "Stopped"
    assert lead["sms_stop"] is True
    assert lead["sms_stop_reason"] == "asked to stop"
    assert lead["campaign_batch"] is None
    assert log(db, lead_id) == ["CAMPAIGN_REMOVED"]
    (asked,) = rows(db, "SELECT client_id, state, requested_by FROM reconciler.manual_sync_request")
    assert tuple(asked) == (world.client, "pending", "uma@northwind.test")
    # A second one joins the sync that still waits.
    ok(client.post(path.replace(str(lead_id), str(world.leads[1])), json={"reason": "too"}))
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": ""},
        {"reason": " \n "},
        {"reason": "x" * 501},
        {"reason": "a\u0000b"},
        {"reason": 7},
        {"reason": "x", "more": 1},
        [],
        None,
    ],
)
def test_removal_needs_a_reason(server: Server, world: World, db: Engine, body: object) -> None:
    path = f"/api/leads/{world.leads[0]}/remove-from-campaign"
    document = problem(server.as_user(world.user).post(path, json=body), 422)
    assert document["errors"]
    assert log(db, world.leads[0]) == []
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 0


def test_longest_reason_and_note(server: Server, world: World) -> None:
    client, lead_id = server.as_user(world.user), world.leads[0]
    ok(client.post(f"/api/leads/{lead_id}/remove-from-campaign", json={"reason": "é" * 500}))
    note = {"content": "😀" * 10_000, "type": "Call"}
    ok(client.post(f"/api/leads/{lead_id}/notes", json=note), 201)


# Deleted, quarantined, waiting


def test_deleted_leads_can_be_seen_and_not_changed(
    server: Server, world: World, db: Engine
) -> None:
    client, lead_id = server.as_user(world.user), world.leads[0]
    engine_writes(db, "UPDATE leads SET is_active = false WHERE id = :l", l=lead_id)
    assert ok(client.get(f"/api/leads/{lead_id}"))["is_active"] is False
    assert ok(client.get("/api/leads"))["total"] == 19
    assert ok(client.get("/api/leads", params={"active": False}))["total"] == 1
    for act, body in ACTS.items():
        answer = problem(client.post(f"/api/leads/{lead_id}/{act}", json=body), 409)
        assert answer["type"] == "urn:reconciler:problem:lead-deleted"


def test_quarantine_is_shown_with_its_reason(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        data.quarantine(
            connection,
            world.client,
            "rec" + "0".zfill(14),
            "hrq_status",
            "Completed",
            "is no option",
        )
    lead = ok(server.as_user(world.user).get(f"/api/leads/{world.leads[0]}"))
    assert lead["sync"] == "quarantined"
    (held,) = lead["quarantine"]
    assert (held["field"], held["reason"], held["value"]) == (
        "hrq_status",
        "is no option",
        "Completed",
    )


def test_a_change_on_its_way_is_waiting(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO reconciler.journal (run_id, client_id, lead_id, record_id, fields, state) "
            "SELECT 'r', client_id, id, airtable_record_id, '{}', 'sent' FROM leads "
            "WHERE airtable_record_id = 'rec00000000000000'"
        )
    client = server.as_user(world.user)
    assert ok(client.get(f"/api/leads/{world.leads[0]}"))["sync"] == "waiting"
    engine_writes(db, "UPDATE reconciler.journal SET state = 'acknowledged'")
    assert ok(client.get(f"/api/leads/{world.leads[0]}"))["sync"] == "in_step"


def test_lead_and_log_are_written_together_or_not_at_all(
    server: Server, world: World, db: Engine
) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE lead_activity_log ADD CHECK (event_type <> 'LEAD_CLAIMED')"
        )
    client, lead_id = server.as_user(world.user), world.leads[0]
    problem(client.post(f"/api/leads/{lead_id}/claim"), 500)
    assert scalar(db, "SELECT claimed_by FROM leads WHERE id = :l", l=lead_id) is None
    assert unsettled(db, lead_id) == 0
