"""The portal's other syncs, each over the tables of a real base."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler_dagster.core.drift import unexplained
from reconciler_dagster.engine.audit import audit
from reconciler_dagster.postgres import derived
from reconciler_dagster.postgres.report import drift_report
from reconciler_dagster_tests.owner.portal import owners_portal
from reconciler_dagster_tests.owner.tables import Tables, tables
from reconciler_dagster_tests.windows import sweep

COUNTS = (
    "total_leads, active_leads_count, completed_leads_count, opted_out_count, booked_count, "
    "messages_sent"
)


@pytest.fixture
def portal(portal_db: str) -> Iterator[Tables]:
    with tables(portal_db) as here:
        yield here


def campaign(portal: Tables, name: str) -> dict[str, object]:
    return dict(portal.acme.value("SELECT to_jsonb(c) FROM campaigns c WHERE name = :n", n=name))


def lead_of(portal: Tables, campaign_id: str, **cells: object) -> str:
    cells = {"Lead": "Ada", "First Name": "Ada", "Linked Campaign": [campaign_id], **cells}
    return portal.acme.sandbox.add(cells)


def test_all_of_them_are_met_and_quiet(portal: Tables) -> None:
    portal.sync()
    assert (portal.stopped, portal.waiting()) == ([], [])
    there = {
        "campaigns": "Campaigns",
        "leads": "Leads",
        "client_project_tasks": "Tasks",
        "client_project_blockers": "Blockers",
        "client_project_status": "Project_Status",
        "sms_templates": "SMS_Templates",
        "sms_audit": "SMS_Audit",
    }
    for table, name in there.items():
        found = portal.sql(f"SELECT airtable_record_id FROM {table}")  # noqa: S608
        assert {row[0] for row in found} == set(portal.on(name).records()), table
    assert portal.sql(
        "SELECT count(*), count(*) FILTER (WHERE id = airtable_record_id) FROM client_project_tasks"
    ) == [(5, 5)]
    assert portal.sql(
        "SELECT status, priority, task_type, owner FROM client_project_tasks "
        "WHERE task LIKE 'Something%'"
    ) == [("Pending", "Medium", "Task", None)]
    assert portal.sql("SELECT count(*) FROM campaigns WHERE is_paused") == [(4,)]
    portal.sync()
    assert portal.quiet() == (7, 0, 0), "a quiet run costs one call a sync"
    with portal.acme.engine.connect() as connection:
        for sync in portal.maps():
            assert unexplained(drift_report(connection, portal.pair(sync))) == []


def test_counts_are_worked_out_with_the_write_and_nothing_of_the_portals_is_touched(
    portal: Tables,
) -> None:
    new = portal.on("Campaigns").add({"Campaign Name": "Own", "Active": True})
    portal.sync()
    portal.sql(
        "UPDATE campaigns SET messages = '[{\"step\": 1}]' WHERE airtable_record_id = :r", r=new
    )
    first = lead_of(portal, new, **{"SMS Sent Count": 2, "Booked": True})
    lead_of(portal, new, **{"SMS Sent Count": 3, "SMS Stop": True, "Booked": True})
    lead_of(portal, new, **{"Booked": True, "SMS Sent Count": 0})
    portal.sync()
    assert portal.sql(f"SELECT {COUNTS} FROM campaigns WHERE name = 'Own'") == [  # noqa: S608
        (3, 2, 0, 1, 2, 5)
    ]
    portal.sql(
        "UPDATE leads SET completed_at = now() WHERE airtable_record_id = :r", r=first
    )  # by the de-enroller
    portal.sync()
    assert portal.sql(f"SELECT {COUNTS} FROM campaigns WHERE name = 'Own'") == [  # noqa: S608
        (3, 1, 1, 1, 2, 5)
    ]
    assert campaign(portal, "Own")["messages"] == [{"step": 1}]


def test_a_lead_that_moves_is_counted_in_its_new_campaign_alone(portal: Tables) -> None:
    one, two = (portal.on("Campaigns").add({"Campaign Name": name}) for name in ("One", "Two"))
    lead = lead_of(portal, one)
    portal.sync()
    assert campaign(portal, "One")["total_leads"] == 1
    portal.sql(
        "UPDATE leads SET campaign_id = (SELECT id FROM campaigns WHERE name = 'Two') "
        "WHERE airtable_record_id = :r",
        r=lead,
    )  # an enrolment
    portal.sync()
    assert campaign(portal, "Two")["total_leads"] == 1
    assert campaign(portal, "One")["total_leads"] == 0
    portal.acme.sandbox.edit(lead, {"Linked Campaign": [one], "Company": "Other"})
    portal.sync()
    enrolled = portal.row("leads", lead)["campaign_id"]
    assert enrolled == campaign(portal, "Two")["id"], "an enrolment is never overwritten"
    assert two


def test_a_lead_that_comes_back_counts_again_in_the_run_that_sees_it(portal: Tables) -> None:
    new = portal.on("Campaigns").add({"Campaign Name": "Own"})
    lead = lead_of(portal, new)
    portal.sync()
    portal.acme.sandbox.delete(lead)
    for _ in range(2):
        sweep(portal.acme)
    assert campaign(portal, "Own")["total_leads"] == 0
    portal.acme.sandbox.restore(lead)
    portal.sync()
    assert portal.row("leads", lead)["is_active"] is True
    assert campaign(portal, "Own")["total_leads"] == 1


def test_a_stale_column_is_drift_and_the_audit_repairs_it(portal: Tables) -> None:
    new = portal.on("Campaigns").add({"Campaign Name": "Own"})
    lead_of(portal, new)
    portal.sync()
    portal.sql("UPDATE campaigns SET total_leads = 77, booked_count = 5 WHERE name = 'Own'")
    portal.sync()  # a portal's edit of a derived column is put back like any other
    assert campaign(portal, "Own")["total_leads"] == 1
    portal.sql(
        "SET LOCAL reconciler.writer = 'engine'; "
        "UPDATE campaigns SET total_leads = 77 WHERE name = 'Own'"
    )
    with portal.acme.engine.connect() as connection:
        pair = portal.pair("campaigns")
        assert derived.stale(connection, pair) == {"total_leads": 1}
        (line,) = unexplained(drift_report(connection, pair))
    assert line.startswith("total_leads of 1 lead")
    for session in portal.sessions("audit"):
        session.settings = session.settings.model_copy(update={"audit_calls_per_hour": 0})
        audit(session)
    assert campaign(portal, "Own")["total_leads"] == 1


def test_sql_that_postgres_refuses_is_told_and_stops_nothing_else(portal: Tables) -> None:
    portal.sql("ALTER TABLE campaigns DROP COLUMN booked_count")
    new = portal.on("Campaigns").add({"Campaign Name": "Own"})
    lead_of(portal, new)
    portal.sync()
    (problem,) = portal.stopped
    assert problem.startswith("'booked_count' is stopped: it is derived in public.campaigns")
    assert campaign(portal, "Own")["total_leads"] == 1


def test_a_lead_without_a_link_finds_its_campaign_by_name(portal: Tables) -> None:
    name = "pricing_rules"
    lead = portal.acme.sandbox.add({"Lead": "Bo", "Campaign (CORRECTED)": name})
    portal.sync()
    row = portal.row("leads", lead)
    assert (row["lead_source"], row["campaign_id"]) == (name, campaign(portal, name)["id"])
    # A campaign that comes later, even one that the portal has made, is found as well.
    portal.acme.sandbox.add_option("Campaign (CORRECTED)", "later")
    lead = portal.acme.sandbox.add({"Lead": "Cy", "Campaign (CORRECTED)": "later"})
    portal.sync()
    assert portal.row("leads", lead)["campaign_id"] is None
    portal.on("Campaigns").add({"Campaign Name": "Later "})
    portal.sync()
    later = portal.acme.value("SELECT id::text FROM campaigns WHERE name ILIKE 'later%'")
    assert portal.row("leads", lead)["campaign_id"] == later


def test_no_link_leads_to_a_row_of_another_client(portal: Tables) -> None:
    portal.sync()
    linked = portal.on("Campaigns").add({"Campaign Name": "Moved"})
    portal.sql(
        "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Other', 'appOther000000000')"
    )
    for record_id, name in ((linked, "Moved"), ("recOther000000000", "Theirs")):
        portal.sql(
            "INSERT INTO campaigns (client_id, airtable_record_id, name) "
            "SELECT id, :r, :n FROM clients WHERE company_name = 'Other'",
            r=record_id,
            n=name,
        )
    portal.acme.sandbox.add_option("Campaign (CORRECTED)", "Theirs")
    by_name = portal.acme.sandbox.add({"Lead": "Bo", "Campaign (CORRECTED)": "Theirs"})
    by_link = lead_of(portal, linked)
    portal.sync()
    for lead in (by_name, by_link):
        assert portal.row("leads", lead)["campaign_id"] is None
    (waits,) = [reason for sync, _, _, reason in portal.waiting() if sync == "leads"]
    assert f"{linked} of campaigns, whose row is not there yet" in waits
    portal.sync()
    assert portal.row("leads", by_link)["campaign_id"] is None


def test_campaigns_are_edited_on_both_sides(portal: Tables) -> None:
    new = portal.on("Campaigns").add({"Campaign Name": "Own"})
    portal.sync()
    assert portal.row("campaigns", new)["is_paused"] is True, "an empty box is a pause"
    portal.sql("UPDATE campaigns SET is_paused = false, zoom_link = 'https://z' WHERE name = 'Own'")
    portal.sync()
    cells = portal.on("Campaigns").record(new)["fields"]
    assert (cells["Active"], cells["Zoom Link"]) == (True, "https://z")
    portal.on("Campaigns").edit(new, {"Active": False, "Campaign Name": None})
    portal.sync()
    row = portal.row("campaigns", new)
    assert (row["is_paused"], row["name"]) == (True, "Own"), "a name is needed"


def test_without_leads_the_counters_of_airtable_are_read(portal_db: str) -> None:
    with tables(portal_db, "campaigns", leads=1) as here:
        cases = (
            ({"Total Leads ": 0, "Total Leads": 7}, 7),
            ({"Total Leads ": 3, "Total Leads": 7}, 3),
            ({}, 0),
        )
        found = {
            here.on("Campaigns").add({"Campaign Name": f"No {n}", **cells}): expected
            for n, (cells, expected) in enumerate(cases)
        }
        here.sync()
        for record_id, expected in found.items():
            assert here.row("campaigns", record_id)["total_leads"] == expected


def test_tasks_are_edited_on_both_sides(portal: Tables) -> None:
    task = portal.on("Tasks").add({"Task": "Call", "Type": "Bug", "Due Date": "2026-03-01"})
    portal.sync()
    portal.sql(
        "UPDATE client_project_tasks SET status = 'In Progress', task_type = 'Task', "
        "dependencies = 'none', due_date = '2026-04-02' WHERE id = :r",
        r=task,
    )
    portal.sync()
    cells = portal.on("Tasks").record(task)["fields"]
    assert (cells["Status"], cells["Due Date"]) == ("In Progress", "2026-04-02")
    assert cells["Type"] == "Task", "a default that is an option is written as such"
    assert cells["Dependencies"] == "none"
    portal.on("Tasks").edit(task, {"Status": None, "Notes": "hi"})
    portal.sync()
    row = portal.row("client_project_tasks", task)
    assert (row["status"], row["notes"], row["dependencies"]) == ("Pending", "hi", "none")
    assert portal.quiet() == (7, 0, 0)


def test_each_message_is_noted_once_and_its_later_states_arrive(portal: Tables) -> None:
    lead = portal.acme.sandbox.add({"Lead": "Ada", "Phone": "+12025550100"})
    portal.sync()
    cells = {
        "Phone": "+12025550100",
        "Status": "Sent",
        "Text": "Hi",
        "Lead Record ID": lead,
        "Sent At": "2026-03-01T10:00:00.000Z",
    }
    message = portal.on("SMS_Audit").add(cells)
    old = portal.on("SMS_Audit").add({**cells, "Text": "Before"})
    nobody = portal.on("SMS_Audit").add({**cells, "Lead Record ID": "recNobody00000000"})
    portal.sql(
        "INSERT INTO lead_activity_log (event_type, event_category, lead_id, description, metadata,"
        " source, timestamp) SELECT 'SMS_SENT', 'MESSAGING', id, 'old', jsonb_build_object("
        "'airtableRecordId', CAST(:r AS text)), 'system:airtable-sms-audit-sync', now() "
        "FROM leads WHERE airtable_record_id = :lead",
        r=old,
        lead=lead,
    )  # by the older sync

    def log(record_id: str) -> list[tuple[object, ...]]:
        asked = (
            "SELECT event_type, message_content, timestamp::text, metadata ->> 'status' "
            "FROM lead_activity_log WHERE metadata ->> 'airtableRecordId' = :r"
        )
        return [tuple(row) for row in portal.sql(asked, r=record_id)]

    portal.sync()
    (noted,) = log(message)
    assert (noted[:2], noted[2][:16], noted[3]) == (
        ("SMS_SENT", "Hi"),
        "2026-03-01 10:00",
        "Sent",
    )
    assert (len(log(old)), log(nobody)) == (1, [])
    portal.on("SMS_Audit").edit(
        message, {"Status": "Delivered", "Delivery At": "2026-03-01T10:00:09.000Z"}
    )
    portal.sync()
    row = portal.row("sms_audit", message)
    assert (row["status"], row["delivery_at"][:19]) == ("Delivered", "2026-03-01T10:00:09")
    assert [entry[3] for entry in log(message)] == ["Delivered"]
    for session in portal.sessions("audit"):
        audit(session)
    portal.sync()
    assert (len(log(message)), len(log(old))) == (1, 1), "nothing twice"


def test_a_pause_stops_all_but_those_that_are_through_and_settles(portal_db: str) -> None:
    with tables(portal_db, "leads", leads=1) as here:
        add = here.acme.sandbox.add
        busy = add({"Lead": "A", "Processing Status": "In Sequence"})
        done = add({"Lead": "B", "Processing Status": "Completed"})
        here.sync()
        here.sql("UPDATE leads SET processing_status = 'Paused'")
        here.sql("UPDATE leads SET hrq_status = 'Completed' WHERE airtable_record_id = :r", r=busy)
        here.sync()
        for record_id, status in ((busy, "Stopped"), (done, "Completed")):
            assert here.row("leads", record_id)["processing_status"] == status
            assert here.acme.cell(record_id, "Processing Status") == status
        assert here.acme.cell(busy, "HRQ Status") == "Manual Process"
        assert here.row("leads", busy)["hrq_status"] == "Manual Process"
        here.sync()
        assert here.quiet() == (1, 0, 0)
        # Once Airtable has the option, the value is written as it is.
        here.acme.sandbox.add_option("HRQ Status", "Completed")
        here.sql("DELETE FROM reconciler.table_binding; DELETE FROM reconciler.field_binding")
        here.sql("UPDATE leads SET hrq_status = 'Completed' WHERE airtable_record_id = :r", r=busy)
        here.sync()
        assert here.acme.cell(busy, "HRQ Status") == "Completed"


def test_a_cell_that_names_a_user_is_a_claim_and_stays_as_it_is(portal_db: str) -> None:
    with tables(portal_db, "leads", leads=1) as here:
        ann = here.acme.user("ann@portal.example")
        here.sql("UPDATE users SET first_name = 'Ann', last_name = 'Keller' WHERE id = :i", i=ann)
        named = [here.acme.sandbox.add({"Lead": "A", "Claimed By": c}) for c in (ann, "ann keller")]
        here.sync()
        for record_id, cell in zip(named, (ann, "ann keller"), strict=True):
            assert here.row("leads", record_id)["claimed_by"] == ann
            assert here.acme.cell(record_id, "Claimed By") == cell, "never rewritten"
        assert here.waiting() == []
        here.sync()
        assert here.quiet() == (1, 0, 0)


def test_a_base_without_the_optional_fields_is_no_problem(portal_db: str) -> None:
    with tables(portal_db, "leads", leads=2) as here:
        for name in ("Claimed By", "Claimed At", "First Clicked At", "Notes"):
            here.acme.sandbox.delete_field(name)
        here.sync()
        assert here.stopped == []
        record_id = next(iter(here.acme.sandbox.records()))
        here.sql("UPDATE leads SET notes = 'kept' WHERE airtable_record_id = :r", r=record_id)
        here.sync()
        assert here.row("leads", record_id)["notes"] == "kept"


def test_the_owners_campaign_page_counts_again(empty_db: str) -> None:
    """lead_source is the campaign's name, leads join their campaigns by the record link, and what
    the portal alone knows stays.
    """
    with owners_portal(empty_db, "as it is", leads=60) as acme:
        here = Tables(acme, "campaigns, leads")
        for record_id, record in here.on("Campaigns").records().items():
            here.sql(
                "UPDATE campaigns SET airtable_record_id = :r, messages = '[{}]', version = 3 "
                "WHERE name = :n",
                r=record_id,
                n=record["fields"]["Campaign Name"],
            )
        records = acme.sandbox.records()
        new, enrolled = sorted(records)[0], sorted(records)[40]
        other = "SELECT id FROM campaigns WHERE name = 'None'"
        here.sql(
            f"UPDATE leads SET campaign_id = ({other}), enrolled_message_count = 4, "  # noqa: S608
            "enrolled_campaign_version = 3 WHERE airtable_record_id = :r",
            r=enrolled,
        )
        here.sql("UPDATE leads SET lead_source = 'Kajabi-API' WHERE airtable_record_id = :r", r=new)
        campaign = next(iter(here.on("Campaigns").records()))
        for record_id in (new, enrolled):
            acme.sandbox.edit(record_id, {"Linked Campaign": [campaign]})
        acme.adopt()
        here.sync()
        here.sync()
        assert here.sql(
            "SELECT DISTINCT c.messages::text, c.version FROM campaigns c "
            "WHERE c.airtable_record_id IS NOT NULL AND c.messages IS NOT NULL"
        ) == [("[{}]", 3)]
        for record_id, record in acme.sandbox.records().items():
            if name := record["fields"].get("Campaign (CORRECTED)"):
                assert here.row("leads", record_id)["lead_source"] == name
        linked = here.row("leads", new)["campaign_id"]
        assert linked == here.row("campaigns", campaign)["id"]
        kept = here.row("leads", enrolled)
        assert (kept["enrolled_message_count"], kept["enrolled_campaign_version"]) == (4, 3)
        assert kept["campaign_id"] == str(acme.value(other))
        assert here.sql(
            "SELECT count(*) FROM campaigns c WHERE total_leads IS DISTINCT FROM "
            "(SELECT count(*) FROM leads l WHERE l.campaign_id = c.id AND l.is_active)"
        ) == [(0,)]
        assert here.quiet() == (2, 0, 0)
