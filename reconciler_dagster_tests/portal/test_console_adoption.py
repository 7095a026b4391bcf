"""The console's page of a client's adoption: over HTTP, with the job that it asks for."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest
from pydantic import SecretStr

from reconciler_dagster.config import Settings
from reconciler_dagster.definitions import defs
from reconciler_dagster.orchestration.adopt_job import adoption_requested
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import SECRET, Server, serve, signed_in
from reconciler_dagster_tests.portal.test_console import sent
from reconciler_dagster_tests.world import World, world

__all__ = ["serve"]
ADMIN = "ann@portal.example"


def launched(here: World) -> list[bool]:
    """What the sensor asks for, carried out; by run whether it went well."""
    with dg.DagsterInstance.local_temp() as instance:
        requests = list(adoption_requested(dg.build_sensor_context(instance=instance)))
        job = defs.resolve_job_def("adopt")
        return [
            job.execute_in_process(
                run_config=request.run_config, instance=instance, raise_on_error=False
            ).success
            for request in requests
            if isinstance(request, dg.RunRequest)
        ]


def test_a_client_is_rehearsed_adopted_paused_and_resumed_in_the_console(
    portal_db: str,
    db: object,
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world(portal_db, leads=12, adopted=False) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        here.sql("UPDATE users SET role = 'SUPER_ADMIN' WHERE email = :e", e=ADMIN)
        here.sandbox.edit(min(here.sandbox.records()), {"Company": "<b>Bold</b>"})
        server = serve(
            Settings(database_url=SecretStr(portal_db), portal_jwt_secret=SecretStr(SECRET))
        )
        admin = User(here.user(ADMIN), ADMIN, "Ann", Role.SUPER_ADMIN, None)  # type: ignore[arg-type]
        browser = signed_in(server, admin)
        page = browser.get("/console/adoption").text
        assert "Acme is new: nothing of it is written" in page
        assert "Nothing was rehearsed yet." in page
        assert "Rehearse it first" in sent(browser, "/adoption", what="approve").text
        assert "It is being rehearsed" in sent(browser, "/adoption", what="rehearse").text
        assert "A rehearsal is at work" in browser.get("/console/adoption").text
        assert launched(here) == [True]
        assert launched(here) == [], "once"
        page = browser.get("/console/adoption").text
        assert "12 leads would be inserted" in page
        assert here.sql("SELECT FROM leads") == []

        sent(browser, "/adoption", what="approve")
        for number in range(11):
            here.sandbox.add({"First Name": f"N{number}"})
        assert launched(here) == [False]
        page = browser.get("/console/adoption").text
        assert "leads to insert: 12 were shown, now it would be 23" in page
        assert here.sql("SELECT FROM leads") == []

        sent(browser, "/adoption", what="approve")
        assert launched(here) == [True]
        ((state, by),) = here.sql("SELECT state, changed_by FROM reconciler.adoption")
        assert (state, by) == ("adopted", ADMIN)
        ((asked,),) = here.sql("SELECT requested_by FROM reconciler.manual_sync_request")
        assert asked == ADMIN, "the first contact is a run like any other"

        assert "Paused: nothing of it" in sent(browser, "/adoption", what="pause").text
        assert f"by {ADMIN}: nothing of it is written" in browser.get("/console/adoption").text
        sent(browser, "/adoption", what="resume")
        assert "Acme is adopted" in browser.get("/console/adoption").text
        assert browser.post("/console/adoption", data={"what": "burn"}).status_code == 422


def test_only_admins_adopt(server: Server, world: data.World) -> None:
    browser = signed_in(server, world.user)
    assert browser.get("/console/adoption").status_code == 403
    assert browser.post("/console/adoption", data={"what": "pause"}).status_code == 403
