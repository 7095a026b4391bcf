"""The console's pages of any synced table: what they show, and what people do there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.syncs.in_force import maps
from reconciler_dagster.syncs.reading import SHIPPED, read_folder
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, rows, scalar

ALL = tuple(read_folder(SHIPPED))
CAMPAIGN, TASK = "recCampaign000001", "recTask0000000001"


def install(db: Engine, settings: Settings, syncs: str) -> None:
    """Put the triggers on the tables of these syncs, which run from here on."""
    settings.syncs = syncs
    upgrade(db, syncs=maps(settings).values(), listed=settings.listed_clients)


@pytest.fixture
def tables(serve: Callable[..., Server], world: World, db: Engine, settings: Settings) -> Server:
    """All of the portal's tables, with a campaign and a task of the client, both in step."""
    install(db, settings, ", ".join(ALL))
    with db.begin() as connection:
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        row(connection, world, "campaigns", CAMPAIGN, name="Autumn <Webinar>", is_paused=False)
        row(connection, world, "client_project_tasks", TASK, id=TASK, task="Call them", status="",
            priority="Low", task_type="Task")  # fmt: skip
    agree(db, world, "campaigns", CAMPAIGN, {"name": "Autumn <Webinar>"})
    agree(db, world, "tasks", TASK, {"task": "Call them"})
    return serve()


def row(connection: Any, world: World, table: str, record: str, **columns: Any) -> None:
    given = {"client_id": world.client, "airtable_record_id": record, **columns}
    names, values = ", ".join(given), ", ".join(f":{name}" for name in given)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), given)  # noqa: S608


def agree(db: Engine, world: World, sync: str, record: str, fields: dict[str, Any]) -> None:
    table = {"campaigns": "campaigns", "tasks": "client_project_tasks"}[sync]
    with db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciler.baseline (client_id, sync, record_id, lead_id, "  # noqa: S608
                "created_time, fields, verified_at) SELECT :client, :sync, :record, "
                f"reconciler.row_id(id::text), now(), :fields, now() FROM {table} "
                "WHERE airtable_record_id = :record"
            ),
            {"client": world.client, "sync": sync, "record": record, "fields": Jsonb(fields)},
        )


def note(db: Engine, world: World, table: str, sync: str, record: str, **columns: Any) -> int:
    """Something that the engine keeps of a row; gives its id where it has one."""
    of = "(SELECT lead_id FROM reconciler.baseline WHERE sync = :sync AND record_id = :record_id)"
    given = {"client_id": world.client, "sync": sync, "record_id": record, **columns}
    names, values = ", ".join(given), ", ".join(f":{name}" for name in given)
    back = " RETURNING id" if table == "conflict" else ""
    own = "" if table == "quarantine" else ", lead_id"
    statement = (
        f"INSERT INTO reconciler.{table} ({names}{own}) "  # noqa: S608
        f"VALUES ({values}{f', {of}' if own else ''}){back}"
    )
    with db.begin() as connection:
        found = connection.execute(text(statement), given)
        return int(found.scalar_one()) if back else 0


def conflict(db: Engine, world: World, sync: str, record: str, field: str, lost: Any) -> int:
    values = {"winning_value": Jsonb("won"), "losing_value": Jsonb(lost)}
    kind = "both_edited"
    return note(db, world, "conflict", sync, record, run_id="r", field=field, kind=kind, **values)


def sent(client: httpx.Client, path: str, **fields: object) -> httpx.Response:
    answer = client.post(f"/console{path}", data=fields)
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["location"])


def shown(client: httpx.Client, path: str) -> str:
    answer = client.get(f"/console{path}", follow_redirects=True)
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


def test_every_table_has_a_page_in_its_own_words(tables: Server, world: World) -> None:
    client = signed_in(tables, world.admin)
    assert "<h1>Leads</h1>" in shown(client, "/tables")
    for name, heading in (
        ("campaigns", "Campaigns"),
        ("project_status", "Project Status"),
        ("sms_templates", "SMS Templates"),
    ):
        page = shown(client, f"/tables/{name}")
        assert f"<h1>{heading}</h1>" in page
        assert "kept the same every hour" in page
    assert "Autumn &lt;Webinar&gt;" in shown(client, "/tables/campaigns")
    assert "Autumn &lt;Webinar&gt;" in shown(client, "/tables/campaigns?search=web")
    assert "None matches." in shown(client, "/tables/campaigns?search=winter")
    drift = shown(client, "/tables/campaigns/drift")
    assert "Every field of every campaign is as it was last agreed." in drift
    assert client.get("/console/tables/nowhere").status_code == 404
    assert signed_in(tables, world.user).get("/console/tables/campaigns").status_code == 403


def test_the_overview_says_how_often_and_calls_nothing_agreed_after_a_failure(
    tables: Server, world: World, db: Engine
) -> None:
    client = signed_in(tables, world.admin)
    assert "every 15 minutes, those of some tables every hour." in shown(client, "")
    agreed = "as it was last agreed"
    assert agreed in shown(client, "/drift")
    assert agreed in shown(client, "/tables/campaigns/drift")
    with db.begin() as connection:
        data.run(connection, world.client, state="failed", message="Airtable was away.")
    for path in ("/drift", "/tables/campaigns/drift"):
        page = shown(client, path)
        assert "The last run failed:" in page
        assert agreed not in page


def test_where_nothing_was_compared_yet_nothing_is_called_agreed(
    tables: Server, world: World, db: Engine
) -> None:
    client = signed_in(tables, world.admin)
    with db.begin() as connection:
        connection.execute(text("DELETE FROM reconciler.baseline"))
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        connection.execute(text("TRUNCATE leads, campaigns, client_project_tasks CASCADE"))
    page = shown(client, "/drift")
    assert "Nothing has been compared yet: press Manual Sync" in page
    assert "as it was last agreed" not in page


def test_the_overview_tells_of_every_table(tables: Server, world: World, db: Engine) -> None:
    client = signed_in(tables, world.admin)
    drift = shown(client, "/drift")
    for heading in ("Leads", "Campaigns", "Tasks", "Blockers", "SMS Audit"):
        assert f">{heading}</a>" in drift
    assert "Every field of every row is as it was last agreed." in drift
    with db.begin() as connection:
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        connection.execute(text("UPDATE campaigns SET name = 'Unnoticed'"))
    drift = shown(client, "/drift")
    assert "name of 1 campaign differs from what both sides last agreed on" in drift
    assert "it compares every campaign and repairs it" in drift
    status = ok(tables.as_user(world.admin).get("/api/admin/sync/status"))["clients"][0]
    assert set(status["syncs"]) == set(ALL)
    assert status["leads"] == status["syncs"]["leads"]["leads"]
    assert status["syncs"]["campaigns"]["differing_fields"] == {"name": 1}


def test_a_row_has_both_sides_and_its_history(tables: Server, world: World, db: Engine) -> None:
    note(db, world, "history", "campaigns", CAMPAIGN, run_id="run-1", field="name",
         side="postgres", old_value=Jsonb("Summer"), new_value=Jsonb("Autumn"))  # fmt: skip
    client = signed_in(tables, world.admin)
    page = shown(client, f"/tables/campaigns/{CAMPAIGN}")
    assert "<h1>Autumn &lt;Webinar&gt;</h1>" in page
    assert "Campaign Name" in page
    assert "1 change, <time" in page
    assert "Summer" in shown(client, "/tables/campaigns")
    assert "Summer" not in shown(client, "/tables/tasks")
    assert client.get("/console/tables/campaigns/recNobody00000001").status_code == 404
    lead = "rec" + "0".zfill(14)
    assert f"/leads/{world.leads[0]}" in client.get(f"/console/tables/leads/{lead}").headers[
        "location"
    ]  # fmt: skip


def test_another_clients_rows_are_404(tables: Server, world: World) -> None:
    client = signed_in(tables, world.stranger)
    assert client.get(f"/console/tables/campaigns/{CAMPAIGN}").status_code == 404
    assert "Autumn" not in shown(client, "/tables/campaigns")


def test_the_loser_of_any_table_is_taken_back(tables: Server, world: World, db: Engine) -> None:
    task = conflict(db, world, "tasks", TASK, "due_date", "2026-12-24")
    paused = conflict(db, world, "campaigns", CAMPAIGN, "is_paused", True)
    owned = conflict(db, world, "campaigns", CAMPAIGN, "auto_discovered", True)
    long = conflict(db, world, "campaigns", CAMPAIGN, "name", "x" * 300)
    client = signed_in(tables, world.admin)
    page = shown(client, "/conflicts")
    assert "Take back the losing value of Due Date, Call them" in page
    assert "To be changed in Airtable, which owns this field" in page
    for own in (task, paused):
        assert "Taken back" in sent(client, f"/conflicts/{own}/take-back").text
    assert str(scalar(db, "SELECT due_date FROM client_project_tasks")).startswith("2026-12-24")
    assert scalar(db, "SELECT is_paused FROM campaigns") is True
    assert rows(db, "SELECT sync FROM reconciler.unsettled ORDER BY 1") == [
        ("campaigns",),
        ("tasks",),
    ]
    assert "belongs to Airtable" in sent(client, f"/conflicts/{owned}/take-back").text
    assert "Postgres refuses the value" in sent(client, f"/conflicts/{long}/take-back").text
    assert scalar(db, "SELECT count(restored_at) FROM reconciler.conflict") == 2


def test_quarantine_is_of_its_table_alone(tables: Server, world: World, db: Engine) -> None:
    with db.begin() as connection:
        data.quarantine(connection, world.client, "rec" + "0".zfill(14), "status", "x", "is odd")
    note(db, world, "quarantine", "tasks", TASK, field="status", direction="to_airtable",
         value=Jsonb("Done"), reason="is no option", next_attempt_at="2030-01-01")  # fmt: skip
    client = signed_in(tables, world.admin)
    page = shown(client, "/quarantine")
    assert ">Call them</a>" in page
    assert ">Ada Marsh</a>" in page
    assert "is no option" in shown(client, "/tables/tasks")
    assert "is no option" not in shown(client, "/tables/leads")
    sent(client, "/quarantine/retry", sync="tasks", field="status", direction="to_airtable")
    due = "SELECT sync FROM reconciler.quarantine WHERE next_attempt_at <= now()"
    assert rows(db, due) == [("tasks",)]


def test_a_deletion_of_any_table_waits_for_a_word(tables: Server, world: World, db: Engine) -> None:
    note(db, world, "tombstone", "tasks", TASK, created_time="2026-01-01",
         state="awaiting_approval", reason="too many")  # fmt: skip
    client = signed_in(tables, world.admin)
    assert "Delete Call them" in shown(client, "/deletions")
    form = {"record_id": TASK, "ruling": "rejected"}
    assert "There is no such deletion" in sent(client, "/deletions", **form).text
    assert "The deletion is rejected." in sent(client, "/deletions", sync="tasks", **form).text
    assert scalar(db, "SELECT state FROM reconciler.tombstone") == "rejected"


def folder_with(tmp_path: Path, name: str, old: str, new: str) -> str:
    text = (SHIPPED / f"{name}.yaml").read_text()
    assert old in text
    (tmp_path / f"{name}.yaml").write_text(text.replace(old, new))
    return str(tmp_path)


def test_a_cell_on_hold_is_chosen(
    tables: Server, world: World, db: Engine, settings: Settings, tmp_path: Path
) -> None:
    settings.syncs_folder = folder_with(
        tmp_path, "tasks", "task: {from: Task, ", "task: {from: Task, policy: hold, "
    )
    note(db, world, "quarantine", "tasks", TASK, field="task", direction="to_postgres",
         value=Jsonb({"airtable": "Ring them", "postgres": "Call them"}),
         reason="was edited on both sides", next_attempt_at="2030-01-01")  # fmt: skip
    client = signed_in(tables, world.admin)
    for path in ("/quarantine", "/tables/tasks"):
        page = shown(client, path)
        assert "Take Airtable's value of Task, Call them" in page
        assert "Ring them" in page
    assert "Ring them" in shown(client, f"/tables/tasks/{TASK}")
    form = {"record_id": TASK, "field": "task", "side": "airtable"}
    assert "Chosen" in sent(client, "/tables/tasks/choose", **form).text
    assert scalar(db, "SELECT fields ->> 'task' FROM reconciler.baseline WHERE sync = 'tasks'") == (
        "Call them"
    )
    (kept,) = rows(db, "SELECT run_id, winning_value FROM reconciler.conflict")
    assert tuple(kept) == ("choice by ana@northwind.test", "Ring them")
    assert scalar(db, "SELECT count(*) FROM reconciler.manual_sync_request") == 1
    gone = sent(client, "/tables/tasks/choose", **{**form, "field": "notes"})
    assert "There is no such cell that waits for a choice" in gone.text
    user = signed_in(tables, world.user)
    assert user.post("/console/tables/tasks/choose", data=form).status_code == 403


def test_what_a_definition_gives_to_airtable_is_not_edited_here(
    serve: Callable[..., Server], world: World, db: Engine, settings: Settings, tmp_path: Path
) -> None:
    """And what it gives to both is taken back, whichever column it is."""
    text = (SHIPPED / "leads.yaml").read_text()
    text = text.replace("{from: Notes, edited: both, policy: merge_appends, ", "{from: Notes, ")
    text = text.replace("type: user, edited: both, ", "type: user, ")
    text = text.replace("{from: Company, ", "{from: Company, edited: both, ")
    (tmp_path / "leads.yaml").write_text(text)
    settings.syncs_folder = str(tmp_path)
    server, lead = serve(), f"/leads/{world.leads[0]}"
    client = signed_in(server, world.admin)
    page = shown(client, lead)
    assert "Add note" not in page
    assert ">Claim</button>" not in page
    assert "Remove from campaign" in page
    assert "Notes belongs to Airtable" in sent(client, f"{lead}/notes", content="Hi").text
    assert "Claimed By belongs to Airtable" in sent(client, f"{lead}/claim").text
    api = server.as_user(world.admin).post(f"/api/leads/{world.leads[0]}/claim")
    assert api.status_code == 409
    assert api.json()["type"] == "urn:reconciler:problem:owned-by-airtable"
    assert scalar(db, "SELECT count(*) FROM lead_activity_log") == 0
    with db.begin() as connection:
        lost = data.conflict(connection, world.client, world.leads[0], "company", "A", "B Ltd")
    assert "Taken back" in sent(client, f"/conflicts/{lost}/take-back").text
    company = scalar(db, "SELECT company FROM leads WHERE id = :l", l=world.leads[0])
    assert company == "B Ltd"


def test_a_definition_that_cannot_be_used_is_named_as_the_cause(
    server: Server, world: World, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "leads.yaml").write_text("sync: leads\n")
    settings.syncs_folder = str(tmp_path)
    answer = server.as_user(world.admin).get("/api/admin/sync/status")
    assert answer.status_code == 503
    assert "The sync definitions of this portal cannot be used" in answer.json()["detail"]
