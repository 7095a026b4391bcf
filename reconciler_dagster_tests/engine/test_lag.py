"""How long edits took to arrive, both ways, as the runs have counted it."""

from __future__ import annotations

import time

from reconciler_dagster.postgres import totals
from reconciler_dagster_tests.world import World


def counted(acme: World) -> dict[tuple[str, str], float]:
    """By total and direction, without the buckets."""
    with acme.engine.connect() as connection:
        return {
            (total.name, str(total.labels["direction"])): total.value
            for total in totals.load(connection)
            if total.name in (totals.LAGS, totals.LAG_SECONDS)
        }


def buckets(acme: World, direction: str) -> dict[float, float]:
    with acme.engine.connect() as connection:
        return {
            float(total.labels["le"]): total.value
            for total in totals.load(connection)
            if total.name == totals.LAG_BUCKET and total.labels["direction"] == direction
        }


def test_what_nobody_edited_has_not_taken_any_time(acme: World) -> None:
    """Neither at first contact, nor in a quiet run."""
    acme.sync()
    assert counted(acme) == {}


def test_an_edit_in_the_portal_is_timed_until_airtable_has_answered(acme: World) -> None:
    first, second, third = sorted(acme.sandbox.records())[:3]
    acme.update(first, notes="one")
    acme.update(first, notes="two")
    acme.update(second, notes="three")
    acme.sql(
        "UPDATE reconciler.unsettled SET noted_at = noted_at - interval '100 s' WHERE revision = "
        "(SELECT min(revision) FROM reconciler.unsettled)"
    )
    # What a run has noted for itself is no edit.
    acme.sql(
        "INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause, noted_at) "
        "SELECT client_id, id, airtable_record_id, 'found by comparing', now() - interval '9 days' "
        "FROM leads WHERE airtable_record_id = :r",
        r=third,
    )
    began = time.monotonic()
    acme.sync()
    taken = time.monotonic() - began
    found = counted(acme)
    assert found.keys() == {(totals.LAGS, "to_airtable"), (totals.LAG_SECONDS, "to_airtable")}
    assert found[totals.LAGS, "to_airtable"] == 2
    assert 100 < found[totals.LAG_SECONDS, "to_airtable"] < 100 + 2 * taken + 60
    ends = buckets(acme, "to_airtable")
    assert ends[86400.0] == 2
    assert ends[60.0] == 1
    acme.sync()
    assert counted(acme) == found


def test_an_edit_in_airtable_took_no_longer_than_since_the_listing_before(acme: World) -> None:
    began = time.monotonic()
    acme.sync()
    time.sleep(2)
    for record_id in sorted(acme.sandbox.records())[:3]:
        acme.sandbox.edit(record_id, {"Company": "Elsewhere"})
    acme.sync()
    found = counted(acme)
    assert found[totals.LAGS, "to_postgres"] == 3
    ended = time.monotonic()
    assert 3 * 2 < found[totals.LAG_SECONDS, "to_postgres"] < 3 * (ended - began + 1)
