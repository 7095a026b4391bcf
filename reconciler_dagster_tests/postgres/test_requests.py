"""Who submits a run for a request: the sensor or the listener, never both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from reconciler_dagster.core.doorbell import Edits
from reconciler_dagster.postgres import listener as sign
from reconciler_dagster.postgres import requests
from reconciler_dagster.postgres.connection import engine, listening
from reconciler_dagster_tests.adopted import ADOPT

KEY = "manual 1 0"


@pytest.fixture
def portal(portal_db: str) -> Iterator[Engine]:
    own = engine(portal_db)
    with own.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Acme', 'appAcme')"
        )
        connection.exec_driver_sql(ADOPT)
        connection.exec_driver_sql(
            "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients"
        )
    yield own
    own.dispose()


def sensor_takes(portal: Engine, key: str = KEY) -> bool:
    with portal.begin() as connection:
        return requests.claim_for_sensor(connection, 1, key)


def listener_takes(portal: Engine, key: str = KEY) -> bool:
    with requests.claimed_by_listener(portal, 1, key) as free:
        return free


def test_what_the_sensor_has_taken_the_listener_leaves(portal: Engine) -> None:
    assert sensor_takes(portal)
    assert not listener_takes(portal)
    assert sensor_takes(portal), "its own it may ask for again: Dagster knows the key"


def test_what_the_listener_has_taken_the_sensor_leaves_until_it_must_be_dead(
    portal: Engine,
) -> None:
    assert listener_takes(portal)
    assert not listener_takes(portal)
    assert not sensor_takes(portal)
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE reconciler.manual_sync_request "
            "SET submitted_at = submitted_at - interval '15 s'"
        )
    assert sensor_takes(portal)
    assert not listener_takes(portal)


def test_a_further_attempt_is_anybody_s(portal: Engine) -> None:
    assert listener_takes(portal)
    assert sensor_takes(portal, "manual 1 1")
    assert listener_takes(portal, "manual 1 2")


def test_nobody_takes_what_the_listener_is_just_submitting(portal: Engine) -> None:
    with requests.claimed_by_listener(portal, 1, KEY) as free:
        assert free
        assert not sensor_takes(portal)
        assert not listener_takes(portal)


def test_a_listener_that_lost_its_connection_must_not_launch(portal: Engine) -> None:
    def loses_it_on_the_way() -> None:
        with requests.claimed_by_listener(portal, 1, KEY) as free:
            assert free
            with portal.begin() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks l JOIN pg_database d "
                    "ON d.oid = l.database WHERE locktype = 'advisory' "
                    "AND datname = current_database()"
                )

    with pytest.raises(DBAPIError):
        loses_it_on_the_way()
    assert sensor_takes(portal)


def test_what_a_run_has_taken_over_is_nobody_s(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.exec_driver_sql("UPDATE reconciler.manual_sync_request SET state = 'started'")
    assert not sensor_takes(portal)
    assert not listener_takes(portal)


def test_every_way_to_ask_rings(portal_db: str, portal: Engine) -> None:
    with listening(portal_db, "reconciler_manual_sync") as connection:
        with portal.begin() as other:
            other.exec_driver_sql(
                "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients"
            )
        (notice,) = connection.notifies(timeout=60, stop_after=1)
    assert notice.payload == ""


# Edits that ring


def edits(portal: Engine) -> list[Edits]:
    with portal.begin() as connection:
        return requests.edits(connection)


def test_edits_are_those_since_the_last_run_of_clients_that_wait_for_nothing(
    portal: Engine,
) -> None:
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
            "SELECT id, 'recAAAAAAAAAAAAAA', 'Ada', 'L', 'ada@example.com' FROM clients"
        )
    assert edits(portal) == [], "a request waits"
    with portal.begin() as connection:
        connection.exec_driver_sql("UPDATE reconciler.manual_sync_request SET state = 'succeeded'")
    (found,) = edits(portal)
    assert (found.last_run, found.calls) == (None, 0)
    assert 0 <= found.newest <= found.oldest
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, findings) "
            """SELECT 'dry', id, 'manual', 'changed', '{"dry_run": true}' FROM clients"""
        )
    assert len(edits(portal)) == 1, "a dry run has carried nothing over"
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, counts) "
            """SELECT 'run', id, 'delta', 'changed', '{"airtable_calls": 3}' FROM clients"""
        )
    assert edits(portal) == [], "the run has read them"
    with portal.begin() as connection:
        connection.exec_driver_sql("UPDATE leads SET notes = 'new'")
    (found,) = edits(portal)
    assert found.calls == 3
    assert found.last_run is not None
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO reconciler.call_bucket (base_id, locked_until) "
            "VALUES ('appAcme', clock_timestamp() + interval '1 h')"
        )
    assert edits(portal) == [], "the base is locked out"
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE clients SET airtable_base_id = airtable_base_id || U&' \\00a0'"
        )
    assert edits(portal) == [], "and so it is with blanks around its id"


def test_edits_ask_once(portal: Engine) -> None:
    with portal.begin() as connection:
        connection.exec_driver_sql("DELETE FROM reconciler.manual_sync_request")
        client = connection.exec_driver_sql("SELECT id::text FROM clients").scalar_one()
        requests.ask(connection, client)
        requests.ask(connection, client)
        (row,) = connection.exec_driver_sql(
            "SELECT state, requested_by FROM reconciler.manual_sync_request"
        )
    assert tuple(row) == ("pending", requests.BY_EDITS)


# The sign of life


def test_the_doorbell_says_how_it_is(portal: Engine) -> None:
    words = []
    with portal.begin() as connection:
        words.append(sign.doorbell(connection).word)
        sign.note(connection, "host 1 2.0", hears=True)
        words.append(sign.doorbell(connection).word)
        sign.note(connection, "host 1 2.0", hears=False)
        words.append(sign.doorbell(connection).word)
        connection.exec_driver_sql(
            "UPDATE reconciler.listener SET seen_at = seen_at - interval '61 s'"
        )
        words.append(sign.doorbell(connection).word)
        sign.forget(connection, "another")
        words.append(sign.doorbell(connection).word)
        sign.forget(connection, "host 1 2.0")
        words.append(sign.doorbell(connection).word)
    assert words == ["off", "listening", "deaf", "silent", "silent", "off"]
