"""Nothing of a client is written, on either side, before a person has said so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from reconciler_dagster import effects
from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.adoption import NotAdopted, State
from reconciler_dagster.core.scope import CHANGED
from reconciler_dagster.engine.deletions import carry_out_approved
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.postgres import adoption, requests
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.world import World, world


@pytest.fixture
def new(portal_db: str) -> Iterator[World]:
    """A client that nobody has adopted, with a lead that differs on both sides."""
    with world(portal_db, leads=10, adopted=False) as here:
        record_id = min(here.sandbox.records())
        here.sql(
            "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, notes)"
            " SELECT id, :id, 'Theirs', '', '', 'ours' FROM clients",
            id=record_id,
        )
        yield here


def both_sides(here: World) -> tuple[object, object]:
    return (
        here.sql("SELECT to_jsonb(l) FROM leads l ORDER BY id"),
        {key: record["fields"] for key, record in here.sandbox.records().items()},
    )


def stand(here: World) -> State:
    with here.engine.connect() as connection:
        return adoption.standing(connection, here.client.id).state


def decide(here: World) -> None:
    own = windows.session(here)
    with own.turn():
        here.sql(
            "INSERT INTO reconciler.tombstone "
            "(client_id, record_id, lead_id, created_time, state, reason) "
            "SELECT client_id, airtable_record_id, id, now(), 'approved', '' FROM leads"
        )
        carry_out_approved(own)


PATHS: dict[str, Callable[[World], object]] = {
    "run": World.sync,
    "great sync": windows.sweep,
    "audit": lambda here: windows.audit(windows.session(here, "audit")),
    "deletion": decide,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("state", ["new", "paused"])
def test_no_path_writes_what_may_not_be_written(new: World, path: str, state: str) -> None:
    if state == "paused":
        new.adopt()
        with new.engine.begin() as connection:
            assert adoption.pause(connection, new.client.id, "ann")
    before = both_sides(new)
    patches = len([c for c in new.sandbox.calls() if c["method"] != "GET"])
    if path == "deletion":
        new.sandbox.delete(min(new.sandbox.records()))
        before = both_sides(new)
    if path == "audit":  # of a base of which nothing is known there is nothing to audit
        with pytest.raises(NotAdopted):
            windows.session(new, "audit").bound  # noqa: B018
    else:
        with pytest.raises(NotAdopted, match=state):
            PATHS[path](new)
    assert both_sides(new) == before
    assert len([c for c in new.sandbox.calls() if c["method"] != "GET"]) == patches


@pytest.mark.parametrize("path", PATHS)
def test_no_path_writes_a_sync_that_is_new(new: World, path: str) -> None:
    """The person's yes was about another one."""
    with new.engine.begin() as connection:
        adoption.adopt(connection, new.client.id, "ann", syncs=["another"])
    if path == "deletion":
        new.sandbox.delete(min(new.sandbox.records()))
    before = both_sides(new)
    with pytest.raises(NotAdopted, match=r"The sync leads of Acme is new: nothing of it"):
        windows.session(new, "audit").bound if path == "audit" else PATHS[path](new)
    assert both_sides(new) == before
    with new.engine.begin() as connection:
        adoption.adopt(connection, new.client.id, "ann", syncs=["leads"])
        stands = adoption.standing(connection, new.client.id)
    assert stands.syncs == {"another", "leads"}
    if path == "run":
        assert new.sync().counts.local_writes == 10


def test_a_client_that_was_adopted_is_written(new: World) -> None:
    assert stand(new) is State.NEW
    new.adopt()
    assert stand(new) is State.ADOPTED
    assert new.sync().counts.local_writes == 10
    assert len(new.sql("SELECT FROM leads")) == 10


def test_a_dry_run_of_a_new_client_looks_and_writes_nothing(new: World) -> None:
    before = both_sides(new)
    session = new.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    assert diff(session).inserts == 9
    assert both_sides(new) == before


def test_a_run_stops_where_its_client_is_paused_meanwhile(new: World) -> None:
    """At its next write, be it to Airtable: every call is planned in a transaction that asks."""
    new.adopt()
    new.sync()
    record_id = min(new.sandbox.records())
    new.update(record_id, hrq_status="Archive")
    before = new.cell(record_id, "HRQ Status")

    def pause(when: str, name: str) -> None:
        if (when, name[:3]) == ("after", "GET"):
            effects.hook = None
            new.sql("UPDATE reconciler.adoption SET state = 'paused'")

    effects.hook = pause
    try:
        with pytest.raises(NotAdopted, match="is paused"):
            new.sync()
    finally:
        effects.hook = None
    assert new.cell(record_id, "HRQ Status") == before
    with new.engine.begin() as connection:
        assert adoption.resume(connection, new.client.id, "ann")
        assert not adoption.resume(connection, new.client.id, "ann"), "it is no news"
    new.sync()
    assert new.cell(record_id, "HRQ Status") == "Archive", "nothing was lost"


def test_a_pause_waits_for_the_write_that_is_under_way(new: World) -> None:
    new.adopt()
    session, paused = new.session(), threading.Event()

    def pause() -> None:
        with new.engine.begin() as connection:
            adoption.pause(connection, new.client.id, "ann")
        paused.set()

    with session.turn(), session.writing() as connection:
        waiting = threading.Thread(target=pause)
        waiting.start()
        assert not paused.wait(0.5)
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    waiting.join()
    with session.turn(), pytest.raises(NotAdopted), session.writing():
        pass


def test_a_new_client_can_be_neither_paused_nor_resumed(new: World) -> None:
    for change in (adoption.pause, adoption.resume):
        with new.engine.begin() as connection, pytest.raises(ConfigurationError, match="is new"):
            change(connection, new.client.id, "ann")


def test_a_request_for_a_new_client_is_answered_with_the_reason(new: World) -> None:
    new.sql("INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients")
    with new.engine.begin() as connection:
        assert requests.refuse_unadopted(connection) == 1
        assert requests.waiting(connection) == []
    ((state, message),) = new.sql("SELECT state, message FROM reconciler.manual_sync_request")
    assert state == "failed"
    assert message.startswith("Acme is new: nothing of it is written")


def test_edits_of_a_new_client_ring_no_bell(new: World) -> None:
    with new.engine.connect() as connection:
        assert requests.edits(connection) == []
    new.adopt()
    with new.engine.connect() as connection:
        assert [edits.client_id for edits in requests.edits(connection)] == [new.client.id]
