"""A glance says that there is nothing to do only where a delta would do nothing, and finds it out
without writing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from reconciler_dagster.core.source import SourceError
from reconciler_dagster.engine.glance import what_stands
from reconciler_dagster.postgres.trigger import EDIT_TRIGGER
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.world import World, world

LATER = 60.0


@pytest.fixture
def quiet(portal_db: str) -> Iterator[World]:
    """A client at whom nothing has happened for a while."""
    with world(portal_db, leads=30) as here:
        for _ in range(2):
            here.sync()
            here.sandbox.advance(LATER)
        yield here


def first(acme: World) -> str:
    return min(acme.sandbox.records())


def test_nothing_is_there_again_and_again_and_nothing_is_written(quiet: World) -> None:
    before = invariants.everything(quiet)
    for _ in range(3):
        quiet.sandbox.reset_calls()
        assert quiet.shows_nothing()
        assert len(quiet.sandbox.calls()) == 1
        quiet.sandbox.advance(3600)
    assert invariants.everything(quiet) == before
    quiet.assert_quiet()


def test_what_a_run_has_sent_is_new_once(quiet: World) -> None:
    """The next delta reads it back, and from then on it is known."""
    quiet.update(first(quiet), hrq_status="Archive")
    assert quiet.sync().counts.remote_writes == 1
    quiet.sandbox.advance(LATER)
    assert not quiet.shows_nothing()
    quiet.assert_quiet()
    quiet.sandbox.advance(LATER)
    assert quiet.shows_nothing()


ACTS: dict[str, Callable[[World], object]] = {
    "an edit in Airtable": lambda w: w.sandbox.edit(first(w), {"Company": "Theirs"}),
    "a new record": lambda w: w.sandbox.add({"Company": "New"}),
    "an edit in the portal": lambda w: w.update(first(w), company="Ours"),
    "a lead deleted in the portal": lambda w: w.sql(
        "DELETE FROM leads WHERE airtable_record_id = :id", id=first(w)
    ),
    "an edit that was noted as nobody's": lambda w: (
        w.update(first(w), company="Ours"),
        w.sql("UPDATE reconciler.unsettled SET client_id = NULL"),
    ),
    "somebody who waits for a sync": lambda w: w.sql(
        "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients"
    ),
    "a write without an answer": lambda w: w.sql(
        "INSERT INTO reconciler.journal (client_id, sync, run_id, record_id, lead_id, fields) "
        "SELECT client_id, sync, 'run', record_id, lead_id, '{}' FROM reconciler.baseline LIMIT 1"
    ),
    "something in quarantine that is due": lambda w: w.sql(
        "INSERT INTO reconciler.quarantine (client_id, sync, record_id, field, direction, reason, "
        "next_attempt_at) SELECT client_id, sync, record_id, 'company', 'to_airtable', 'refused', "
        "clock_timestamp() FROM reconciler.baseline LIMIT 1"
    ),
    "a deletion that was approved": lambda w: w.sql(
        "INSERT INTO reconciler.tombstone (client_id, sync, record_id, lead_id, created_time, "
        "state, reason, run_id) SELECT client_id, sync, record_id, lead_id, created_time, "
        "'approved', 'it is gone', 'run' FROM reconciler.baseline LIMIT 1"
    ),
    "a record id with a blank": lambda w: w.sql(
        "INSERT INTO leads (client_id, first_name, last_name, email, airtable_record_id) "
        "SELECT client_id, 'Ann', 'Lee', '', 'rec00000000000001 ' FROM leads LIMIT 1"
    ),
    "a trigger that is disabled": lambda w: w.sql("ALTER TABLE leads DISABLE TRIGGER USER"),
    "a trigger that was disabled for a while": lambda w: (
        w.sql(f"ALTER TABLE leads DISABLE TRIGGER {EDIT_TRIGGER}"),
        w.update(first(w), company="Ours"),
        w.sql(f"ALTER TABLE leads ENABLE ALWAYS TRIGGER {EDIT_TRIGGER}"),
    ),
    "metadata that was read a day ago": lambda w: w.sql(
        "UPDATE reconciler.table_binding SET read_at = read_at - interval '1 day'"
    ),
    "a field that is stopped": lambda w: w.sql(
        "UPDATE reconciler.field_binding SET problem = 'it is stopped' WHERE field = 'company'"
    ),
    "another base": lambda w: w.sql("UPDATE reconciler.table_binding SET base_id = 'appOther'"),
    "no cursor": lambda w: w.sql("DELETE FROM reconciler.cursor"),
    "nothing agreed on": lambda w: w.sql("DELETE FROM reconciler.baseline"),
    "a clock that ran backward": lambda w: w.sandbox.advance(-600 - 2 * LATER),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))
def test_anything_else_is_for_a_run(quiet: World, act: Callable[[World], object]) -> None:
    assert quiet.shows_nothing()
    act(quiet)
    assert not quiet.shows_nothing()


def test_what_waits_for_a_person_is_nothing_for_a_run(quiet: World) -> None:
    quiet.sql(
        "INSERT INTO reconciler.quarantine (client_id, sync, record_id, field, direction, reason, "
        "next_attempt_at) SELECT client_id, sync, record_id, 'company', 'to_airtable', 'refused', "
        "clock_timestamp() + interval '1 day' FROM reconciler.baseline LIMIT 1"
    )
    quiet.sql(
        "INSERT INTO reconciler.tombstone (client_id, sync, record_id, lead_id, created_time, "
        "state, reason, run_id) SELECT client_id, sync, record_id, lead_id, created_time, "
        "'awaiting_approval', 'it is gone', 'run' FROM reconciler.baseline LIMIT 1"
    )
    assert quiet.shows_nothing()
    with quiet.engine.connect() as connection:
        stands = what_stands(connection, quiet.pair)
    assert (stands.quarantined, stands.deletions_pending) == (1, 1)


def test_an_option_that_somebody_has_added_is_for_a_run(quiet: World) -> None:
    """Once the metadata shows it, which a sync by hand reads."""
    quiet.update(first(quiet), hrq_status="Brand New")
    assert quiet.sync().counts.quarantined == 1
    quiet.sandbox.advance(LATER)
    assert quiet.shows_nothing()
    quiet.sandbox.add_option("HRQ Status", "Brand New")
    quiet.session().check_mapping(force=True)
    assert not quiet.shows_nothing()
    assert quiet.sync().counts.quarantined == 0


def test_where_airtable_cannot_be_read_it_does_not_say_that_nothing_is_there(quiet: World) -> None:
    quiet.sandbox.fault("status", status=503, times=100)
    with pytest.raises(SourceError):
        quiet.shows_nothing()
