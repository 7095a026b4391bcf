"""The whole demo with real processes: edits on both sides, a flag row, the sensor's run."""

from __future__ import annotations

from typing import Any

from reconciler_dagster.syncs.reading import SHIPPED, read_folder
from reconciler_dagster_tests.end_to_end.conftest import Demo, until

SHIPPED_SYNCS = tuple(read_folder(SHIPPED))


def ask(demo: Demo) -> int:
    """Insert the flag row; returns its id."""
    rows = demo.sql(
        "INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients RETURNING id"
    )
    return int(rows[0][0])


def answer(demo: Demo, request: int) -> tuple[Any, ...]:
    """Wait for the end of a request: state, counts, message."""
    found: list[tuple[Any, ...]] = []

    def ended() -> bool:
        found[:] = demo.sql(
            "SELECT state, counts, message FROM reconciler.manual_sync_request "
            "WHERE id = %s AND state IN ('succeeded', 'failed')",
            request,
        )
        return bool(found)

    until(ended)
    return found[0]


def test_edits_on_both_sides_meet_through_the_flag_row(demo: Demo) -> None:
    first = answer(demo, ask(demo))
    assert first[0] == "succeeded", first
    edited, claimed, both = sorted(demo.sandbox.records())[:3]
    demo.sandbox.edit(edited, {"Company": "Edited in Airtable", "Job Title": None})
    demo.sql(
        "UPDATE leads SET claimed_by = (SELECT id FROM users WHERE email = 'cleo@example.com'), "
        "claimed_at = now() WHERE airtable_record_id = %s",
        claimed,
    )
    demo.sql("UPDATE leads SET hrq_status = 'Archive' WHERE airtable_record_id = %s", both)
    demo.sandbox.edit(both, {"HRQ Status": "Review"})

    state, counts, message = answer(demo, ask(demo))
    assert (state, message) == ("succeeded", None)
    assert (counts["remote_writes"], counts["conflicts"]) == (1, 1)

    company, title = demo.sql(
        "SELECT company, title FROM leads WHERE airtable_record_id = %s", edited
    )[0]
    assert (company, title) == ("Edited in Airtable", None)
    assert demo.cells(claimed)["Claimed By"] == "cleo@example.com"
    assert demo.cells(both)["HRQ Status"] == "Review"
    assert demo.sql("SELECT hrq_status FROM leads WHERE airtable_record_id = %s", both) == [
        ("Review",)
    ]
    assert demo.sql("SELECT losing_value FROM reconciler.conflict WHERE record_id = %s", both) == [
        ("Archive",)
    ]


def test_the_demo_keeps_every_table_of_the_portal(demo: Demo) -> None:
    assert answer(demo, ask(demo))[0] == "succeeded"
    (client,) = demo.reconciler("status")["clients"]
    assert set(client["syncs"]) == set(SHIPPED_SYNCS)
    for name, sync in client["syncs"].items():
        counts = sync["leads"]
        assert counts["airtable"] == counts["postgres"] == counts["baseline"] > 0, name
        assert (sync["quarantine"], sync["differing_fields"]) == (0, {}), name
    linked, told = demo.sql(
        "SELECT count(*) FILTER (WHERE c.id IS NOT NULL), "
        "(SELECT count(*) FROM sms_audit a JOIN leads o ON o.airtable_record_id = a.lead_record_id)"
        " FROM leads l LEFT JOIN campaigns c ON c.id = l.campaign_id"
    )[0]
    assert linked > 0
    assert told == client["syncs"]["sms_audit"]["leads"]["postgres"]


def test_a_run_with_nothing_to_do_makes_one_call_a_sync_and_writes_nothing(demo: Demo) -> None:
    assert answer(demo, ask(demo))[0] == "succeeded"
    demo.sandbox.reset_calls()
    (client,) = demo.reconciler("run")["clients"]
    assert len(demo.sandbox.calls()) == len(SHIPPED_SYNCS)
    assert client["airtable_calls"] == len(SHIPPED_SYNCS)
    assert (client["local_writes"], client["remote_writes"]) == (0, 0)


def test_a_burst_of_flag_rows_is_one_run(demo: Demo) -> None:
    requests = [ask(demo) for _ in range(5)]
    assert {answer(demo, request)[0] for request in requests} == {"succeeded"}
    runs = demo.sql(
        "SELECT count(DISTINCT run_id) FROM reconciler.manual_sync_request WHERE id = ANY(%s)",
        requests,
    )
    assert runs[0][0] <= 2  # the last ones may have come when the first run had started
