"""What follows from rows: right within the run that writes, moves or deletes them, and told where
it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.core.sync import Derived, SyncMap
from reconciler_dagster.engine.audit import audit
from reconciler_dagster.engine.listing import list_window
from reconciler_dagster.engine.windows import reconcile
from reconciler_dagster.postgres import derived
from reconciler_dagster_tests.owner.tables import Tables, tables


@pytest.fixture
def portal(portal_db: str) -> Iterator[Tables]:
    with tables(portal_db, "campaigns, leads") as here:
        yield here


def campaign(portal: Tables, name: str, leads: int = 1) -> tuple[str, list[str]]:
    """A campaign and its leads, met."""
    new = portal.on("Campaigns").add({"Campaign Name": name})
    cells = {"Lead": "Ada", "First Name": "Ada", "Linked Campaign": [new]}
    added = [portal.acme.sandbox.add(cells) for _ in range(leads)]
    portal.sync()
    assert total(portal, name) == leads
    return new, added


def total(portal: Tables, name: str) -> Any:
    return portal.acme.value("SELECT total_leads FROM campaigns WHERE name = :n", n=name)


def great_sync(portal: Tables) -> None:
    """Over the leads."""
    session = portal.sessions("great_sync")[-1]
    reconcile(session, list_window(session, EVERYTHING, session.key))


def test_a_lead_that_is_deleted_in_airtable_counts_no_more_until_it_is_back(
    portal: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (lead, *_) = campaign(portal, "Own", 2)
    portal.acme.sandbox.delete(lead)
    great_sync(portal)
    only_of_written_rows(monkeypatch)
    great_sync(portal)  # confirms it
    assert portal.row("leads", lead)["is_active"] is False
    assert total(portal, "Own") == 1
    portal.acme.sandbox.restore(lead)
    portal.sync()
    assert portal.row("leads", lead)["is_active"] is True
    assert total(portal, "Own") == 2


def only_of_written_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window works out all of a client at its end: that must not be what makes it right."""
    work_out = derived.work_out

    def some(connection: Any, pair: Any, record_ids: Any = None, were: Any = ()) -> None:
        if record_ids is not None:
            work_out(connection, pair, record_ids, were)

    monkeypatch.setattr(derived, "work_out", some)


def test_a_deletion_that_a_person_approves_counts_at_once(portal: Tables) -> None:
    _, leads = campaign(portal, "Own", 12)
    for lead in leads:
        portal.acme.sandbox.delete(lead)
    great_sync(portal)
    great_sync(portal)
    assert total(portal, "Own") == 12, "too many to be believed"
    portal.sql("UPDATE reconciler.tombstone SET state = 'approved'")
    portal.sync()
    assert total(portal, "Own") == 0


@pytest.mark.parametrize(
    "act",
    [
        "UPDATE leads SET campaign_id = NULL WHERE airtable_record_id = :r",
        "UPDATE leads SET campaign_id = (SELECT id FROM campaigns WHERE name = 'Two') "
        "WHERE airtable_record_id = :r",
        "UPDATE leads SET is_active = false WHERE airtable_record_id = :r",
    ],
)
def test_a_campaign_that_a_lead_has_left_in_the_portal_is_right_in_the_same_run(
    portal: Tables, act: str
) -> None:
    campaign(portal, "Two")
    _, (lead, *_) = campaign(portal, "One", 2)
    portal.sql("ALTER TABLE leads ALTER campaign_id DROP NOT NULL")
    portal.sql(act, r=lead)
    portal.sync()
    held = portal.acme.value(
        "SELECT count(*) FROM leads l JOIN campaigns c ON c.id = l.campaign_id "
        "WHERE c.name = 'One' AND l.is_active"
    )
    assert total(portal, "One") == held
    with portal.acme.engine.connect() as connection:
        assert derived.stale(connection, portal.pair("campaigns")) == {}


def test_several_moves_between_two_runs_leave_no_campaign_behind(portal: Tables) -> None:
    for name in ("Two", "Three"):
        campaign(portal, name)
    _, (lead, *_) = campaign(portal, "One", 2)
    for name in ("Two", "Three"):
        portal.sql(
            "UPDATE leads SET campaign_id = (SELECT id FROM campaigns WHERE name = :n), "
            "notes = repeat('long ', 100) WHERE airtable_record_id = :r",
            n=name,
            r=lead,
        )
    was = portal.acme.value("SELECT was FROM reconciler.unsettled ORDER BY revision DESC LIMIT 1")
    assert "notes" not in was, "only what is short, as a key is"
    portal.sync()
    assert [total(portal, name) for name in ("One", "Two", "Three")] == [1, 1, 2]


def test_a_lead_that_is_gone_on_both_sides_is_counted_no_more(portal: Tables) -> None:
    _, (lead, *_) = campaign(portal, "Own", 2)
    portal.acme.sandbox.delete(lead)
    portal.sql("DELETE FROM leads WHERE airtable_record_id = :r", r=lead)
    portal.sql("UPDATE reconciler.baseline SET fields = fields - 'company'")  # so that it is read
    portal.sync()
    assert portal.sql("SELECT FROM leads WHERE airtable_record_id = :r", r=lead) == []
    assert total(portal, "Own") == 1


def changed(portal: Tables, monkeypatch: pytest.MonkeyPatch, sync: str, **more: Any) -> None:
    """One sync's definition with more in it."""
    maps: Callable[[], dict[str, SyncMap]] = portal.maps

    def those() -> dict[str, SyncMap]:
        found = maps()
        found[sync] = replace(found[sync], **more)
        return {name: own.among(found) for name, own in found.items()}

    monkeypatch.setattr(portal, "maps", those)


DIVIDES = "INSERT INTO noted SELECT w.airtable_record_id, 100 / w.sms_sent_count FROM written w"
CASTS = "INSERT INTO noted SELECT w.airtable_record_id, CAST(w.company AS int) FROM written w"


@pytest.mark.parametrize(
    ("sql", "bad", "good", "said"),
    [
        (DIVIDES, {"SMS Sent Count": 0}, {"SMS Sent Count": 4}, "division by zero"),
        (CASTS, {"Company": "no number"}, {"Company": "4"}, 'integer: "no number"'),
    ],
)
def test_an_event_that_fails_for_one_row_stops_alone_and_is_told(
    portal: Tables,
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
    bad: dict[str, Any],
    good: dict[str, Any],
    said: str,
) -> None:
    portal.sync()
    portal.sql("CREATE TABLE noted (record_id text, n int)")
    fine = "INSERT INTO noted SELECT w.airtable_record_id, -1 FROM written w"
    changed(portal, monkeypatch, "leads", events=(sql, fine))
    wrong, *right = (
        portal.acme.sandbox.add({"Lead": "A", "First Name": "A", **cells})
        for cells in (bad, good, good, good)
    )
    counts = portal.sync()
    assert portal.row("leads", wrong)["first_name"] == "A", "the row itself arrives"
    noted = {tuple(row) for row in portal.sql("SELECT record_id, n > 0 FROM noted")}
    assert noted == {(r, True) for r in right} | {(r, False) for r in (wrong, *right)}
    ((sync, name, direction, reason),) = portal.waiting()
    assert (sync, name, direction) == ("leads", "(event 1)", "to_postgres")
    assert said in reason
    assert "`reconciler quarantine retry`" in reason
    assert counts.quarantined == 1, "the run is not green"
    assert portal.sync().quarantined == 1, "nor the next"

    portal.acme.sandbox.edit(wrong, good)
    assert portal.sync().quarantined == 0
    assert (wrong, True) in {tuple(row) for row in portal.sql("SELECT record_id, n > 0 FROM noted")}


def test_a_statement_that_is_mended_is_tried_again_by_the_audit(
    portal: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.sync()
    portal.sql("CREATE TABLE noted (record_id text, n int)")
    changed(portal, monkeypatch, "leads", events=(DIVIDES,))
    _, two = (portal.acme.sandbox.add({"Lead": n, "SMS Sent Count": 0}) for n in "AB")
    portal.sync()
    assert len(portal.waiting()) == 2
    changed(portal, monkeypatch, "leads", events=(DIVIDES.replace("100 /", "100 +"),))
    for session in portal.sessions("audit"):
        audit(session)
    assert portal.waiting() == []
    assert portal.acme.value("SELECT count(*) FROM noted WHERE record_id = :r", r=two) >= 1


def test_a_derived_column_that_fails_for_one_row_is_told_and_right_in_all_others(
    portal: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Derived(
        "total_leads",
        "(SELECT 10 / (count(*) - 2) FROM leads l WHERE l.campaign_id = row.id)",
        ("leads",),
    )
    new, _ = campaign(portal, "Own", 3)
    other, _ = campaign(portal, "Other", 1)
    changed(portal, monkeypatch, "campaigns", derived=(counts,))
    cells = {"Lead": "C", "First Name": "C"}
    portal.acme.sandbox.add({**cells, "Linked Campaign": [other]})
    portal.acme.sandbox.add({**cells, "Linked Campaign": [new]})
    assert portal.sync().quarantined == 1, "one is divided by zero"
    assert total(portal, "Own") == 5
    ((sync, name, _, reason),) = portal.waiting()
    assert (sync, name) == ("campaigns", "(derived total_leads)")
    assert "division by zero" in reason
    portal.acme.sandbox.add({**cells, "Linked Campaign": [other]})
    assert portal.sync().quarantined == 0
    assert total(portal, "Other") == 10
