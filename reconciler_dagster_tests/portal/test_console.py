"""The console over HTTP: its forms, its pages, and what each role gets."""

from __future__ import annotations

import html
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.postgres import glances
from reconciler_dagster.postgres.glances import Glance
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, rows, scalar


def sent(client: httpx.Client, path: str, **fields: object) -> httpx.Response:
    """Send a form and see what the page says afterwards."""
    answer = client.post(f"/console{path}", data=fields)
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["location"])


def test_a_leads_acts(server: Server, world: World, db: Engine) -> None:
    client, lead = signed_in(server, world.user), f"/leads/{world.leads[0]}"
    assert "The lead is yours." in sent(client, f"{lead}/claim").text
    assert "The lead is yours." not in client.get(f"/console{lead}").text
    assert "The lead is free again." in sent(client, f"{lead}/unclaim").text
    page = sent(client, f"{lead}/notes", content="<b>Bold</b> words", type="Call")
    assert "&lt;b&gt;Bold&lt;/b&gt; words" in page.text
    assert "Write a note of up to" in sent(client, f"{lead}/notes", content=" ").text
    assert "Give a reason" in sent(client, f"{lead}/remove-from-campaign", reason=" ").text
    assert (
        "SMS stopped: enough" in sent(client, f"{lead}/remove-from-campaign", reason="enough").text
    )
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 4
    ok = signed_in(server, world.colleague)
    sent(client, f"{lead}/claim")
    assert "Uma Patel has claimed this lead." in sent(ok, f"{lead}/claim").text
    assert "Only the holder or an admin" in sent(ok, f"{lead}/unclaim").text


def test_a_form_sent_twice_writes_one_note(server: Server, world: World, db: Engine) -> None:
    client, path = signed_in(server, world.user), f"/leads/{world.leads[0]}/notes"
    form = {"content": "Only once.", "type": "Call", "form_key": str(uuid4())}
    sent(client, path, **form)
    sent(client, path, **form)
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 1
    # Gone back, changed and sent again: another note.
    sent(client, path, **{**form, "content": "And this."})
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 2


def test_the_press_is_followed_to_its_end(server: Server, world: World, db: Engine) -> None:
    client = signed_in(server, world.root)
    client.post("/console/client", data={"client_id": str(world.client)})
    fragment = client.post("/console/sync", headers={"HX-Request": "true"})
    assert "Waiting for the run to start" in fragment.text
    request_id = scalar(db, "SELECT id FROM reconciler.manual_sync_request")
    progress = f"/console/sync/{request_id}"
    assert client.get(progress, params={"seen": "pending"}).status_code == 204
    engine_writes(db, "UPDATE reconciler.manual_sync_request SET state = 'started', run_id = 'r1'")
    assert "The run is at work." in client.get(progress, params={"seen": "pending"}).text
    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'succeeded', finished_at = now(),"
        """ counts = '{"remote_writes": 3, "conflicts": 1, "airtable_calls": 2}'"""
    )  # fmt: skip
    done = client.get(progress, params={"seen": "started"})
    assert "0 leads to the portal, 3 to Airtable, 2 calls" in done.text
    assert "1 in conflict" in done.text
    assert done.headers["hx-trigger"] == "sync-finished"
    assert "every 1s" not in done.text
    assert 'href="http://dagster.test/runs/r1"' in done.text
    engine_writes(
        db, "UPDATE reconciler.manual_sync_request SET state = 'failed', message = 'Base is gone.'"
    )
    assert "Base is gone." in client.get(progress).text


# Conflicts, quarantine, deletions


def test_the_loser_is_taken_back_as_a_new_edit(server: Server, world: World, db: Engine) -> None:
    lead_id, values = world.leads[0], {}
    lost = {
        "hrq_status": "Review",
        "processing_status": "Stopped",
        "campaign_batch": None,
        "notes": "Theirs.\nTwo lines.",
        "sms_stop": True,
        "sms_stop_reason": "asked",
        "claimed_by": "uma@northwind.test",
    }
    with db.begin() as connection:
        for field, value in lost.items():
            values[field] = data.conflict(connection, world.client, lead_id, field, "won", value)
    client = signed_in(server, world.admin)
    for conflict_id in values.values():
        assert "Taken back" in sent(client, f"/conflicts/{conflict_id}/take-back").text
    (lead,) = rows(db, "SELECT * FROM leads WHERE id = :l", l=lead_id)
    assert lead.claimed_by == world.user.id
    assert (lead.hrq_status, lead.processing_status) == ("Review", "Stopped")
    assert (lead.campaign_batch, lead.notes) == (None, "Theirs.\nTwo lines.")
    assert (lead.sms_stop, lead.sms_stop_reason) == (True, "asked")
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == len(lost)
    assert scalar(db, "SELECT count(*) FROM reconciler.unsettled") == len(lost)
    assert scalar(db, "SELECT count(restored_by) FROM reconciler.conflict") == len(lost)
    again = sent(client, f"/conflicts/{values['notes']}/take-back")
    assert "taken back already" in again.text
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == len(lost)


@pytest.mark.parametrize("pressed", ["claimed_by", "claimed_at"])
def test_a_claim_is_taken_back_as_a_whole(
    server: Server, world: World, db: Engine, pressed: str
) -> None:
    lead_id = world.leads[0]
    lost = {"claimed_by": "uma@northwind.test", "claimed_at": "2026-11-24T10:00:00.123Z"}
    with db.begin() as connection:
        ids = {f: data.conflict(connection, world.client, lead_id, f, "w", lost[f]) for f in lost}
    client = signed_in(server, world.admin)
    assert "Taken back" in sent(client, f"/conflicts/{ids[pressed]}/take-back").text
    (lead,) = rows(db, "SELECT * FROM leads WHERE id = :l", l=lead_id)
    assert lead.claimed_by == world.user.id
    assert lead.claimed_at.isoformat(timespec="milliseconds").startswith("2026-11-24T10:00:00.123")
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 1
    assert scalar(db, "SELECT count(restored_by) FROM reconciler.conflict") == 2
    for conflict_id in ids.values():
        assert "taken back already" in sent(client, f"/conflicts/{conflict_id}/take-back").text


def test_a_claim_without_a_time_does_not_come_back_with_the_winners(
    server: Server, world: World, db: Engine
) -> None:
    lead_id, winners = world.leads[0], "2026-11-25T10:00:00.000Z"
    with db.begin() as connection:
        conflict_id = data.conflict(
            connection, world.client, lead_id, "claimed_by", "w", "uma@northwind.test"
        )
        connection.execute(
            text("UPDATE leads SET claimed_by = :u, claimed_at = :t WHERE id = :l"),
            {"u": world.admin.id, "t": winners, "l": lead_id},
        )
        connection.execute(
            text(
                "INSERT INTO reconciler.history (run_id, client_id, lead_id, record_id, field, "
                "side, old_value, new_value) SELECT 'run-1', client_id, id, airtable_record_id, "
                "'claimed_at', 'postgres', 'null', to_jsonb(CAST(:t AS text)) "
                "FROM leads WHERE id = :l"
            ),
            {"t": winners, "l": lead_id},
        )
    assert "Taken back" in sent(
        signed_in(server, world.admin), f"/conflicts/{conflict_id}/take-back"
    ).text  # fmt: skip
    (lead,) = rows(db, "SELECT * FROM leads WHERE id = :l", l=lead_id)
    assert (lead.claimed_by, lead.claimed_at) == (world.user.id, None)


def test_what_cannot_be_taken_back_says_why(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        airtables = data.conflict(connection, world.client, world.leads[0], "company", "A", "B")
        nobody = data.conflict(
            connection, world.client, world.leads[0], "claimed_by", None, "gone@northwind.test"
        )
        foreign = data.conflict(
            connection, world.other_client, world.other_leads[0], "notes", "A", "B"
        )
    client = signed_in(server, world.admin)
    assert "Company belongs to Airtable" in sent(client, f"/conflicts/{airtables}/take-back").text
    assert "no portal user has that e-mail" in sent(client, f"/conflicts/{nobody}/take-back").text
    assert "There is no such conflict" in sent(client, f"/conflicts/{foreign}/take-back").text
    assert "There is no such conflict" in sent(client, "/conflicts/987654/take-back").text
    assert (
        signed_in(server, world.user).post(f"/console/conflicts/{nobody}/take-back").status_code
        == 403
    )
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 0
    assert scalar(db, "SELECT count(restored_at) FROM reconciler.conflict") == 0


def test_quarantine_is_retried(server: Server, world: World, db: Engine) -> None:
    record = "rec" + "3".zfill(14)
    with db.begin() as connection:
        data.quarantine(connection, world.client, record, "hrq_status", "Done", "is no option")
        data.quarantine(connection, world.other_client, "recO", "notes", "secret", "is odd")
    client = signed_in(server, world.admin)
    page = client.get("/console/quarantine").text
    assert "is no option" in page
    assert "secret" not in page
    form = {"record_id": record, "field": "hrq_status", "direction": "to_airtable"}
    sent(client, "/quarantine/retry", **form)
    assert scalar(
        db,
        "SELECT next_attempt_at <= now() FROM reconciler.quarantine WHERE record_id = :r",
        r=record,
    )
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 1
    gone = sent(client, "/quarantine/retry", **{**form, "record_id": "recO", "field": "notes"})
    assert "There is no such quarantined value" in gone.text
    assert scalar(
        db, "SELECT next_attempt_at > now() FROM reconciler.quarantine WHERE record_id = 'recO'"
    )


def test_many_with_one_reason_are_one_row(server: Server, world: World, db: Engine) -> None:
    records = ["rec" + str(number).zfill(14) for number in range(8)]
    with db.begin() as connection:
        for record in records:
            data.quarantine(connection, world.client, record, "hrq_status", "Done", "is no option")
        for record in records[:5]:
            data.quarantine(connection, world.client, record, "notes", "Long", "is too long")
    client = signed_in(server, world.admin)
    page = client.get("/console/quarantine").text
    assert page.count("is no option") == 1
    assert "8 leads, e.g. " in page
    assert page.count("is too long") == 5
    sent(client, "/quarantine/retry", field="hrq_status", direction="to_airtable")
    due = "SELECT count(*) FROM reconciler.quarantine WHERE next_attempt_at <= now()"
    assert scalar(db, due) == 8


def have_all_deletions_wait(db: Engine) -> None:
    with db.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO reconciler.tombstone
                    (client_id, record_id, lead_id, created_time, state, reason)
                SELECT client_id, airtable_record_id, id, now(), 'awaiting_approval', 'too many'
                FROM leads
            """)
        )


def test_deletions_wait_for_a_persons_word(server: Server, world: World, db: Engine) -> None:
    client = signed_in(server, world.admin)
    assert "No row waits to be deleted" in client.get("/console/deletions").text
    form = {"record_id": "rec" + "0".zfill(14), "ruling": "approved"}
    assert "There is no such deletion" in sent(client, "/deletions", **form).text
    have_all_deletions_wait(db)
    assert "too many" in client.get("/console/deletions").text
    assert "The deletion is approved." in sent(client, "/deletions", **form).text
    assert client.post("/console/deletions", data={**form, "ruling": "deleted"}).status_code == 422
    states = rows(db, "SELECT state, count(*) FROM reconciler.tombstone GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in states] == [("approved", 1), ("awaiting_approval", 22)]
    assert rows(db, "SELECT decided_by FROM reconciler.tombstone WHERE state = 'approved'")[0][0]


def test_all_deletions_are_ruled_on_at_once_as_they_were_shown(
    server: Server, world: World, db: Engine
) -> None:
    have_all_deletions_wait(db)
    of = "SELECT count(*) FROM reconciler.tombstone WHERE client_id = :c AND state = :s"
    own = scalar(db, of, c=world.client, s="awaiting_approval")
    foreign = scalar(db, of, c=world.other_client, s="awaiting_approval")
    client = signed_in(server, world.admin)
    assert f"Delete all {own}" in client.get("/console/deletions").text
    form = {"ruling": "approved", "waiting": str(own - 1)}
    refused = sent(client, "/deletions/all", **form).text
    assert f"Nothing was done: {own} deletions wait by now, not {own - 1}." in refused
    assert scalar(db, of, c=world.client, s="awaiting_approval") == own
    plain = signed_in(server, world.user)
    assert plain.post("/console/deletions/all", data=form).status_code == 403
    form["waiting"] = str(own)
    assert (
        f"All {own} deletions are approved: a sync" in sent(client, "/deletions/all", **form).text
    )
    assert scalar(db, of, c=world.client, s="approved") == own
    assert scalar(db, of, c=world.other_client, s="awaiting_approval") == foreign > 0
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 1


def test_the_overview_tells_what_is_kept_and_what_nothing_explains(
    server: Server, world: World, db: Engine
) -> None:
    client = signed_in(server, world.admin)
    agreed = client.get("/console/drift").text
    assert "as it was last agreed" in agreed
    assert "kept in the portal" not in agreed
    with db.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO reconciler.field_binding
                    (client_id, field, airtable_field_id, airtable_name, airtable_type)
                VALUES (:client, 'company', 'fldCompany0000001', 'Company', 'singleLineText')
            """),
            {"client": world.client},
        )
    engine_writes(
        db,
        "UPDATE reconciler.baseline SET fields = fields - 'company' WHERE lead_id = :l",
        l=world.leads[0],
    )
    engine_writes(db, "UPDATE leads SET title = 'unnoticed' WHERE id = :l", l=world.leads[1])
    page = client.get("/console/drift").text
    assert "Empty in Airtable, kept in the portal" in page
    assert "title of 1 lead differs from what both sides last agreed on" in page
    assert "as it was last agreed" not in page


def test_a_stopped_field_and_a_failed_run_are_said(
    server: Server, world: World, db: Engine
) -> None:
    client = signed_in(server, world.admin)
    with db.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO reconciler.field_binding
                    (client_id, field, airtable_field_id, airtable_name, airtable_type, problem)
                VALUES (:client, 'company', 'fldCompany0000001', 'Company', 'number', :problem)
            """),
            {
                "client": world.client,
                "problem": "'Company' is stopped: it is of type number, expected text; change it "
                "back.",
            },
        )
        connection.execute(
            text("""
                INSERT INTO reconciler.run_summary
                    (client_id, run_id, purpose, scope, state, finished_at, message)
                VALUES (:client, 'run-last', 'delta', '', 'failed', clock_timestamp(),
                    'AIRTABLE_API_KEY is not accepted by Airtable: set it.')
            """),
            {"client": world.client},
        )
    page = html.unescape(client.get("/console/drift").text)
    assert "'Company' is stopped: it is of type number" in page
    assert "The last run failed: Airtable does not let this portal into the base." in page
    assert "AIRTABLE_API_KEY" not in page, "that is for the operator"
    assert "as it was last agreed" not in page


def test_a_glance_is_not_taken_for_a_run(server: Server, world: World, db: Engine) -> None:
    client = signed_in(server, world.admin)
    with db.begin() as connection:
        run = data.run(connection, world.client, started=timedelta(minutes=1))
        glance = Glance(str(world.client), 0.0, {"airtable_calls": 1}, ["leads"])
        glances.note(connection, "run-of-all", glance)
    page = client.get("/console/runs").text
    assert f'<a href="/console/runs/{run}">Delta</a>' in page
    assert '<a href="/console/runs/run-of-all">Glance</a>' in page
    assert "<h1>Glance" in client.get("/console/runs/run-of-all").text


# Roles and clients


def test_a_plain_user_has_the_leads_alone(server: Server, world: World) -> None:
    client = signed_in(server, world.user)
    assert client.get("/console").headers["location"] == "/console/leads"
    for page in (
        "/conflicts",
        "/quarantine",
        "/deletions",
        "/runs",
        "/drift",
        "/runs/x",
        "/sync/1",
    ):
        assert client.get(f"/console{page}").status_code == 403
    assert client.post("/console/sync").status_code == 403
    assert "Conflicts" not in client.get("/console/leads").text


def test_another_clients_things_are_404(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        run = data.run(connection, world.client)
    client = signed_in(server, world.stranger)
    assert client.get(f"/console/runs/{run}").status_code == 404
    assert client.get(f"/console/leads/{world.leads[0]}").status_code == 404
    assert client.post("/console/client", data={"client_id": str(world.client)}).status_code == 404
    assert "ada.marsh0@" not in client.get("/console/leads").text
    assert signed_in(server, world.admin).get(f"/console/runs/{run}").status_code == 200


def test_a_super_admin_looks_at_one_client_at_a_time(
    server: Server, world: World, db: Engine
) -> None:
    client = signed_in(server, world.root)
    assert "Northwind Coaching</h1>" in client.get("/console").text
    page = sent(client, "/client", client_id=str(world.other_client))
    assert "Tailspin Events</h1>" in page.text
    sent(client, "/sync")
    assert scalar(db, "SELECT client_id FROM reconciler.manual_sync_request") == world.other_client
    with db.begin() as connection:
        run = data.run(connection, world.client)
    # A link from Dagster opens the run of whichever client it was.
    assert client.get(f"/console/runs/{run}").status_code == 200


def test_an_empty_portal(server: Server, world: World, db: Engine) -> None:
    engine_writes(db, "UPDATE clients SET is_active = false")
    client = signed_in(server, world.root)
    assert "No clients yet" in client.get("/console").text
    assert client.get("/console/leads").status_code == 200
    assert client.get("/console/conflicts").status_code == 404


# What pages show


def test_a_runs_page_lists_what_it_changed(server: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        run = data.run(connection, world.client, message="All well.", airtable_calls=3)
        data.change(connection, world.leads[0], run, "status", "postgres", "Queued", "Sent")
    page = signed_in(server, world.root).get(f"/console/runs/{run}").text
    for shown in ("All well.", "Ada Marsh", "SMS Status", "Queued", "Sent", "the portal"):
        assert shown in page
    assert f'href="http://dagster.test/runs/{run}"' in page


def test_a_leads_page_sets_both_sides_beside_each_other(
    server: Server, world: World, db: Engine
) -> None:
    client, lead = signed_in(server, world.admin), f"/leads/{world.leads[0]}"
    assert "differs" not in client.get(f"/console{lead}").text
    sent(client, f"{lead}/claim")
    with db.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO reconciler.quarantine (client_id, record_id, field, direction, reason,
                    next_attempt_at)
                VALUES (:c, :r, 'icp_score', 'to_postgres', 'holds a formula error', now())
            """),
            {"c": world.client, "r": "rec" + "0".zfill(14)},
        )
        run = data.run(connection, world.client)
        data.change(
            connection, world.leads[0], run, "hrq_status", "airtable", "Review", "Qualified"
        )
    page = client.get(f"/console{lead}").text
    assert page.count('class="differs"') == 3  # who, when, and the score
    assert "ana@northwind.test" in page
    assert "not readable here" in page
    assert "holds a formula error" in page
    assert "1 change, <time" in page


def test_the_lead_list_filters_and_pages(server: Server, world: World, db: Engine) -> None:
    client = signed_in(server, world.user)
    page = client.get("/console/leads", params={"search": "okafor"}).text
    assert "1 lead" in page
    assert "David Okafor" in page
    assert "No lead matches." in client.get("/console/leads?search=zzz").text
    assert client.get("/console/leads?sync=waiting&claimed=me").status_code == 200
    assert client.get("/console/leads?sort=odd").status_code == 422
    with db.begin() as connection:
        for number in range(200, 220):
            data.lead(connection, world.client, number)
    assert "page 1 of 2" in client.get("/console/leads").text
    assert "page 2 of 2" in client.get("/console/leads?page=2&sort=name").text
