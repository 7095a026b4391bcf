"""The console where other tables than leads are synced: every page opens, in their own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.syncs.in_force import maps
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import SECRET, Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.test_second_domain import blocks

BASE, RECORD = "appSecondDomain01", "recDeal0000000001"


def pages(server: Server) -> set[str]:
    """The address of every page of the console."""
    return {
        route.path
        for route in server.app.state.routes
        if "GET" in getattr(route, "methods", ()) and route.path.startswith("/console")
    }


def open_all(
    client: httpx.Client, server: Server, sync: str, **parts: object
) -> dict[str, httpx.Response]:
    """Every page, with these parts of addresses; none may fail."""
    answers = {}
    for path in sorted(pages(server)):
        address = path
        for name, value in {"name": sync, **parts}.items():
            address = address.replace(f"{{{name}}}", str(value))
        answers[path] = client.get(address)
        assert answers[path].status_code < 500, (address, answers[path].text)
    return answers


def found(answers: dict[str, httpx.Response]) -> set[str]:
    return {path for path, answer in answers.items() if answer.status_code in (200, 204, 303)}


def test_a_portal_whose_leads_are_not_synced(
    serve: Callable[..., Server], world: World, db: Engine, settings: Settings
) -> None:
    settings.syncs = "campaigns"
    upgrade(db, syncs=maps(settings).values())
    with db.begin() as connection:
        run = data.run(connection, world.client, local_writes=1)
        # Of a time when the leads were synced as well.
        data.change(connection, world.leads[0], run, "status", "postgres", "Queued", "Sent")
        data.conflict(connection, world.client, world.leads[0], "notes", "A", "B")
        record = "rec" + "0".zfill(14)
        data.quarantine(connection, world.client, record, "notes", "x", "is odd")
        connection.execute(
            text("INSERT INTO campaigns (client_id, airtable_record_id, name) "
                 "VALUES (:client, :record, 'Autumn')"),
            {"client": world.client, "record": RECORD},
        )  # fmt: skip
    server = serve()
    client = signed_in(server, world.root)
    client.post("/console/client", data={"client_id": str(world.client)})
    request = client.post("/console/sync", headers={"HX-Request": "true"})
    assert request.status_code == 200
    number = request.text.partition('id="sync-')[2].partition('"')[0]
    parts = {"run_id": run, "request_id": number, "record_id": RECORD, "lead_id": world.leads[0]}
    answers = open_all(client, server, "campaigns", **parts)
    assert pages(server) - found(answers) == {"/console/leads", "/console/leads/{lead_id}"}
    assert "leads are not synced" in answers["/console/leads"].text
    assert "Autumn" in answers["/console/tables/{name}"].text
    assert "Every field of every campaign" in answers["/console/drift"].text
    assert ">Leads</a>" not in answers["/console"].text
    assert "is odd" in answers["/console/quarantine"].text
    taken = client.post("/console/conflicts/1/take-back")
    assert "not synced any more" in client.get(taken.headers["location"]).text
    status = server.as_user(world.admin).get("/api/admin/sync/status")
    assert set(status.json()["clients"][0]["syncs"]) == {"campaigns"}
    user = signed_in(server, world.user)
    assert user.get("/console").status_code == 403


@pytest.fixture
def crm(empty_db: str, tmp_path: Path, serve: Callable[..., Server]) -> Server:
    """The page of a second domain: its tables, its definitions, its client, and no portal."""
    for block in blocks("yaml"):
        path = tmp_path / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    settings = Settings(
        database_url=SecretStr(empty_db),
        portal_jwt_secret=SecretStr(SECRET),
        RECONCILER_SYNCS_FOLDER=str(tmp_path / "crm"),
        RECONCILER_CLIENTS=f"Acme={BASE}",
    )
    own = engine(empty_db)
    with own.begin() as connection:
        for statement in blocks("sql"):
            connection.execute(text(statement))
    upgrade(own, syncs=maps(settings).values(), listed=settings.listed_clients)
    with own.begin() as connection:
        connection.execute(text("SET LOCAL reconciler.writer = 'engine'"))
        connection.execute(
            text("INSERT INTO crm.deals (airtable_record_id, title) VALUES (:r, 'Roof')"),
            {"r": RECORD},
        )
        connection.execute(
            text("INSERT INTO reconciler.baseline (client_id, sync, record_id, lead_id, "
                 "created_time, fields) SELECT c.id, 'deals', :r, reconciler.row_id(d.id::text), "
                 "now(), '{\"title\": \"Roof\"}' FROM reconciler.clients() c, crm.deals d"),
            {"r": RECORD},
        )  # fmt: skip
    own.dispose()
    return serve(settings)


def test_a_second_domain_without_a_portal(crm: Server) -> None:
    root = User(uuid4(), "root@acme.test", "Root", Role.SUPER_ADMIN, None)
    client = signed_in(crm, root)
    with crm.portal.transaction() as connection:
        client_id: UUID = connection.execute(text("SELECT id FROM reconciler.clients()")).scalar()
        run = data.run(connection, client_id, local_writes=1)
    parts = {"run_id": run, "record_id": RECORD, "lead_id": uuid4(), "request_id": 1}
    assert client.post("/console/sync").status_code == 303
    answers = open_all(client, crm, "deals", **parts)
    assert pages(crm) - found(answers) == {"/console/leads", "/console/leads/{lead_id}"}
    assert "Every field of every row is as it was last agreed." in answers["/console/drift"].text
    assert ">Roof</a>" in answers["/console/tables/{name}"].text
    assert "<h1>Roof</h1>" in answers["/console/tables/{name}/{record_id}"].text
    for path, answer in answers.items():
        if path not in ("/console/leads", "/console/leads/{lead_id}", "/console/sign-in"):
            assert "lead" not in answer.text.lower().replace('class="lead"', ""), path
    admin = User(uuid4(), "a@acme.test", "A", Role.CLIENT_ADMIN, uuid4())
    assert signed_in(crm, admin).get("/console/tables/deals").status_code == 404
    assert crm.as_user(root).get("/api/leads").status_code == 503
