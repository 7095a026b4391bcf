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


def test_a_program_that_writes_another_value_each_time(acme: World) -> None:
    """The time, say. A person's edits of other cells arrive, and nothing else is kept."""
    record_id = min(acme.sandbox.records())
    counts = []
    for number in range(10):
        cron(acme, f"synced at 12:{number:02}")
        acme.update(record_id, sms_stop_reason=f"because {number}")
        acme.sync()
        counts.append(conflicts(acme))
    assert counts == [40, 80, *[80] * 8]
    (sentence,) = told(acme)
    assert "leads.status of 40 records" in sentence
    assert acme.cell(record_id, "SMS Stop Reason") == "because 9"
    assert acme.lead(record_id)["status"] == "synced at 12:09"
    acme.assert_quiet()
    with acme.engine.begin() as connection:
        assert retry_chosen(connection, ["status"], None, None, "status") == 40
    acme.sync()
    acme.assert_converged()
    assert told(acme) == []


@pytest.mark.parametrize(("leads", "is_fight"), [(1, False), (9, False), (10, True)])
def test_people_who_write_something_else_are_no_fight(
    acme: World, leads: int, is_fight: bool
) -> None:
    chosen = sorted(acme.sandbox.records())[:leads]
    for number in range(6):
        acme.sql(
            "UPDATE leads SET status = :value WHERE airtable_record_id = ANY(:chosen)",
            value=f"v{number}",
            chosen=chosen,
        )
        acme.sync()
    assert bool(told(acme)) is is_fight
    assert conflicts(acme) == (2 if is_fight else 6) * leads


def test_a_person_on_one_side_may_change_her_mind_as_often_as_she_likes(acme: World) -> None:
    here, there = sorted(acme.sandbox.records())[:2]
    for number in range(12):
        value = ("Archive", "Manual Process")[number % 2]
        acme.update(here, hrq_status=value)
        acme.sandbox.edit(there, {"HRQ Status": value})
        acme.sync()
        assert acme.cell(here, "HRQ Status") == value
        assert acme.lead(there)["hrq_status"] == value
    assert told(acme) == []


@pytest.mark.parametrize(
    ("portal_s", "zap_s"),
    [
        pytest.param("Stop", "Go", id="each its own"),
        pytest.param("Stop {}", "Go", id="the portal another one each time"),
        pytest.param("Stop", "Go {}", id="the zap another one each time"),
    ],
)
def test_a_zap_that_resets_what_the_portal_writes(acme: World, portal_s: str, zap_s: str) -> None:
    """Never both between two runs: there is no conflict, and each run does what it should."""
    fought, other = sorted(acme.sandbox.records())[:2]
    writes = []
    for number in range(10):
        acme.update(fought, sms_stop_reason=portal_s.format(number))
        acme.update(other, sms_stop_reason=f"because {number}")
        writes.append(acme.sync().counts.remote_writes)
        acme.sandbox.edit(fought, {"SMS Stop Reason": zap_s.format(number)})
        acme.sandbox.edit(other, {"Company": f"Company {number}"})
        acme.sync()
        assert acme.cell(other, "SMS Stop Reason") == f"because {number}"
        assert acme.lead(other)["company"] == f"Company {number}"
    assert conflicts(acme) == 0
    (sentence,) = told(acme)
    assert "leads.sms_stop_reason of 1 record." in sentence
    assert writes == [2, 2, 2, *[1] * 7]
    assert acme.cell(fought, "SMS Stop Reason") == zap_s.format(9)
    assert acme.lead(fought)["sms_stop_reason"] == portal_s.format(9)
    acme.assert_quiet()
    with acme.engine.begin() as connection:
        assert retry_chosen(connection, [], None, fought, None) == 1
    acme.sync()
    assert acme.sides()[0][fought] == acme.sides()[1][fought]
    assert told(acme) == [], "what was before somebody looked does not count"


def test_the_other_writer_pauses_and_both_sides_agree_meanwhile(acme: World) -> None:
    """An hourly cron, and runs in between that see all leads."""
    for number in range(8):
        if number % 2 == 0:
            cron(acme)
        else:
            acme.sandbox.edit_many({r: {"Company": f"{number}"} for r in acme.sandbox.records()})
        acme.sync()
    assert conflicts(acme) == 80
    assert len(told(acme)) == 1


def test_when_the_other_writer_is_gone_and_both_agree_the_fight_is_over(acme: World) -> None:
    for _ in range(3):
        cron(acme)
        acme.sync()
    assert len(told(acme)) == 1
    acme.sql("UPDATE reconciler.fight SET seen_at = now() - interval '25 hours'")
    acme.sandbox.edit_many({r: {"Company": "new"} for r in acme.sandbox.records()})
    acme.sync()
    assert told(acme) == []


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
