"""Another writer that undoes what the engine does: told once, and fought no more."""

from __future__ import annotations

import pytest

from reconciler_dagster.postgres import fights
from reconciler_dagster.postgres.retry import retry_chosen
from reconciler_dagster_tests.world import World


def cron(acme: World, value: str = "Cron") -> None:
    """The portal's old cron: every lead's status, as it thinks it ought to be."""
    acme.sql("UPDATE leads SET status = :value", value=value)


def told(acme: World) -> list[str]:
    with acme.engine.connect() as connection:
        return fights.sentences(connection, acme.client.id)


def conflicts(acme: World) -> int:
    return int(acme.value("SELECT count(*) FROM reconciler.conflict"))


def test_ten_rounds_of_an_old_cron(acme: World) -> None:
    record_id = min(acme.sandbox.records())
    counts, sentences = [], []
    for number in range(10):
        cron(acme)
        acme.update(record_id, sms_stop_reason=f"because {number}")
        acme.sync()
        counts.append(conflicts(acme))
        sentences.append(told(acme))
    assert counts == [40, 80, *[80] * 8], "of a fight nothing more is kept"
    assert [len(found) for found in sentences] == [0, 0, *[1] * 8]
    assert "leads.status of 40 records" in sentences[-1][0]
    assert acme.cell(record_id, "SMS Stop Reason") == "because 9", "people's edits arrive"
    assert {row[0] for row in acme.sql("SELECT DISTINCT status FROM leads")} == {"Cron"}
    acme.assert_quiet()


def test_once_somebody_has_looked_the_cells_are_put_right(acme: World) -> None:
    for _ in range(4):
        cron(acme)
        acme.sync()
    with acme.engine.begin() as connection:
        assert retry_chosen(connection, ["status"], None, None, "status") == 40
    assert told(acme) == []
    acme.sync()
    acme.assert_converged()
    acme.assert_quiet()


def test_a_person_who_writes_something_else_is_no_fight(acme: World) -> None:
    for number in range(6):
        cron(acme, f"v{number}")
        acme.sync()
    assert told(acme) == []
    assert conflicts(acme) == 6 * 40


def test_an_edit_in_airtable_goes_through_although_the_portal_fights(acme: World) -> None:
    """What is left alone is the other writer's value, not the cell for ever."""
    for _ in range(4):
        cron(acme)
        acme.sync()
    record_id = min(acme.sandbox.records())
    acme.update(record_id, status="Other")
    acme.sync()
    assert acme.lead(record_id)["status"] == (acme.cell(record_id, "SMS Status") or "New")
    assert "leads.status of 39 records" in told(acme)[0]


def test_what_is_a_day_old_is_another_story(acme: World) -> None:
    for _ in range(5):
        cron(acme)
        acme.sync()
        acme.sql("UPDATE reconciler.fight SET seen_at = now() - interval '25 hours'")
    assert told(acme) == []


@pytest.mark.parametrize("runs", [2, 3])
def test_a_run_counts_once(acme: World, runs: int) -> None:
    cell = {"record_id": "rec1", "field": "status", "losing": "x"}
    with acme.engine.begin() as connection:
        for number in range(runs):
            for _ in range(2):
                found = fights.count(connection, acme.pair, f"run {number}", [cell])
    assert found == ({("rec1", "status")} if runs == 3 else set())
