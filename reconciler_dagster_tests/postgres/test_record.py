from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler_dagster.postgres.record import history_of
from reconciler_dagster.postgres.retention import prune
from reconciler_dagster_tests.world import World, world


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=5) as here:
        here.sync()
        yield here


def test_every_change_carried_over_is_kept_with_its_side(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    company = acme.cell(record_id, "Company")
    acme.sandbox.edit(record_id, {"Company": "Typed in Airtable"})
    first = acme.sync().session.run_id
    acme.update(record_id, sms_stop_reason="asked to")
    second = acme.sync().session.run_id
    with acme.engine.connect() as connection:
        by_record = history_of(connection, [acme.map.table], record_id)
        by_lead = history_of(connection, [acme.map.table], acme.lead(record_id)["id"])
        assert history_of(connection, [acme.map.table], "recNobody00000000") is None
    assert by_record == by_lead
    assert [(c.field, c.side, c.old, c.new, c.run_id) for c in by_record or []] == [
        ("sms_stop_reason", "airtable", None, "asked to", second),
        ("company", "postgres", company, "Typed in Airtable", first),
    ]


def test_the_history_is_kept_for_as_long_as_was_set(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    for company in ("old", "young"):
        acme.sandbox.edit(record_id, {"Company": company})
        acme.sync()
        acme.sql("UPDATE reconciler.history SET changed_at = changed_at - interval '89 days'")
    prune(acme.engine, acme.settings)
    with acme.engine.connect() as connection:
        assert [
            change.new for change in history_of(connection, [acme.map.table], record_id) or []
        ] == ["young"]


def test_what_is_closed_is_forgotten_like_the_history(acme: World) -> None:
    """And what is open stays, however old it is."""
    acme.update(min(acme.sandbox.records()), status="Mine")
    acme.sync()
    acme.sql(
        "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, started_at,"
        " finished_at) SELECT r, id, 'delta', '', s, coalesce(f, now()), f FROM clients, "
        "(VALUES ('a', 'succeeded', now()), "
        "('b', 'succeeded', now() - interval '91 days'), ('c', 'started', NULL)) v (r, s, f)"
    )
    acme.sql(
        "INSERT INTO reconciler.manual_sync_request (client_id, state, requested_at, finished_at) "
        "SELECT id, s, now() - interval '99 days', f FROM clients, "
        "(VALUES ('pending', NULL), ('failed', now() - interval '91 days')) v (s, f)"
    )
    acme.sql("UPDATE reconciler.conflict SET happened_at = now() - interval '91 days'")
    assert len(acme.sql("SELECT FROM reconciler.conflict")) == 1
    prune(acme.engine, acme.settings)
    assert acme.sql("SELECT FROM reconciler.conflict") == []
    assert acme.sql("SELECT run_id FROM reconciler.run_summary ORDER BY 1") == [("a",), ("c",)]
    assert acme.sql("SELECT state FROM reconciler.manual_sync_request") == [("pending",)]
