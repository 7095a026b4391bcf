"""Two linked syncs of one client over another domain, without a line of Python for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler_dagster.postgres.choices import choose
from reconciler_dagster_tests.crm import Crm, crm


@pytest.fixture
def two(portal_db: str) -> Iterator[Crm]:
    with crm(portal_db) as here:
        yield here


def deal(two: Crm, record_id: str) -> dict[str, Any]:
    return dict(
        two.acme.value("SELECT to_jsonb(d) FROM crm.deals d WHERE airtable_id = :r", r=record_id)
    )


def cells(two: Crm, record_id: str) -> dict[str, Any]:
    return dict(two.deals.record(record_id)["fields"])


def waiting(two: Crm) -> list[Any]:
    return [
        tuple(row)
        for row in two.acme.sql(
            "SELECT sync, field, direction, reason FROM reconciler.quarantine ORDER BY 1, 2"
        )
    ]


def test_both_are_met_linked_and_kept_in_step_in_one_run(two: Crm) -> None:
    other = two.firms.add({"Name": "Globex"})
    two.sync()
    firm = two.firms.add({"Name": "Acme", "City": "Rome"})
    first = two.deals.add(
        {
            "Name": "Big one",
            "Amount": 1234.5,
            "Tags": ["new", "hot"],
            "Closes": "2026-03-01",
            "Firm": [firm],
        }
    )
    assert two.sync().local_writes == 2, "the firm comes first, so that the deal is written once"
    ((key, city),) = two.acme.sql("SELECT id, city FROM crm.firms WHERE name = 'Acme'")
    row = deal(two, first)
    assert (city, row["firm_id"], row["amount"]) == ("Rome", key, 1234.5)
    assert (row["tags"], row["closes_on"], row["is_open"]) == (["hot", "new"], "2026-03-01", True)
    assert waiting(two) == []
    assert two.quiet() == (2, 0, 0), "a quiet run costs one call a sync"
    assert two.acme.sql("SELECT DISTINCT sync FROM reconciler.baseline ORDER BY 1") == [
        ("deals",),
        ("firms",),
    ]

    two.acme.sql(
        "UPDATE crm.deals SET amount = 99.99, tags = '{old}', is_open = false, "
        "firm_id = (SELECT id FROM crm.firms WHERE name = 'Globex')"
    )
    two.deals.edit(first, {"Closes": None, "Name": "Bigger"})
    two.sync()
    there = cells(two, first)
    assert (there["Amount"], there["Tags"], there["Closed"]) == (99.99, ["old"], True)
    assert there["Firm"] == [other]
    assert (deal(two, first)["name"], deal(two, first)["closes_on"]) == ("Bigger", None)
    two.sync()
    assert two.quiet() == (2, 0, 0)


def test_a_link_whose_row_is_not_there_waits_and_is_filled_by_the_run_that_brings_it(
    two: Crm,
) -> None:
    nameless = two.firms.add({"City": "Oslo"})
    first = two.deals.add({"Name": "Early", "Firm": [nameless]})
    two.sync()
    assert two.acme.value("SELECT count(*) FROM crm.firms") == 0, "a firm needs a name"
    assert deal(two, first)["firm_id"] is None
    ((sync, field, direction, reason),) = waiting(two)
    assert (sync, field, direction) == ("deals", "firm_id", "to_postgres")
    assert f"{nameless} of firms, whose row is not there yet" in reason
    assert cells(two, first)["Firm"] == [nameless], "nobody has cleared it"

    two.acme.sandbox.advance(3600)  # so long that no run lists the deal once more by itself
    two.sync()
    two.firms.edit(nameless, {"Name": "Late"})
    two.sync()
    assert deal(two, first)["firm_id"] == two.acme.value("SELECT id FROM crm.firms")
    assert waiting(two) == []


def test_links_of_rows_that_were_there_before_the_engine_are_known(two: Crm) -> None:
    """Another program has filled the tables: what agrees is no conflict, and nothing is rewritten;
    a link that Airtable does not have is carried over.
    """
    firm = two.firms.add({"Name": "Acme"})
    same = two.deals.add({"Name": "Same", "Firm": [firm]})
    bare = two.deals.add({"Name": "Bare"})
    two.acme.sql("INSERT INTO crm.firms (airtable_id, name) VALUES (:r, 'Acme')", r=firm)
    for name, record_id in (("Same", same), ("Bare", bare)):
        two.acme.sql(
            "INSERT INTO crm.deals (airtable_id, name, is_open, firm_id) "
            "SELECT :r, :name, true, id FROM crm.firms",
            r=record_id,
            name=name,
        )
    two.sync()
    assert two.acme.sql("SELECT field, winning_value FROM reconciler.conflict") == []
    assert waiting(two) == []
    assert (cells(two, same)["Firm"], cells(two, bare)["Firm"]) == ([firm], [firm])


def test_a_link_to_another_clients_row_is_not_sent(two: Crm) -> None:
    """Where no column says whose a row is, its record does."""
    mine = two.firms.add({"Name": "Mine"})
    first = two.deals.add({"Name": "First", "Firm": [mine]})
    two.sync()
    two.acme.sql(
        "INSERT INTO reconciler.baseline "
        "(client_id, sync, record_id, lead_id, created_time, fields)"
        " VALUES (gen_random_uuid(), 'firms', 'recOfAnother00000', gen_random_uuid(), now(), '{}')"
    )
    two.acme.sql("INSERT INTO crm.firms (airtable_id, name) VALUES ('recOfAnother00000', 'Theirs')")
    two.acme.sql("UPDATE crm.deals SET firm_id = (SELECT id FROM crm.firms WHERE name = 'Theirs')")
    assert two.sync().remote_writes == 0
    ((_, field, direction, reason),) = waiting(two)
    assert (field, direction) == ("firm_id", "to_airtable")
    assert "which has no record in Airtable yet" in reason
    assert cells(two, first)["Firm"] == [mine]


def test_several_links_wait_until_all_their_rows_are_there(two: Crm) -> None:
    two.acme.sql("ALTER TABLE crm.deals ADD COLUMN partner_ids bigint[]")
    table = next(f["options"] for f in two.deals.fields() if f["name"] == "Firm")["linkedTableId"]
    two.deals.create_field("Partners", "multipleRecordLinks", {"linkedTableId": table})
    two.texts["deals"] += "  partner_ids: {from: Partners, type: links, to: firms, edited: both}\n"
    known, nameless = two.firms.add({"Name": "Known"}), two.firms.add({"City": "Oslo"})
    first = two.deals.add({"Name": "Both", "Partners": [nameless, known]})
    two.sync()
    assert deal(two, first)["partner_ids"] is None, "one of two is not what Airtable says"
    ((_, field, direction, reason),) = waiting(two)
    assert (field, direction) == ("partner_ids", "to_postgres")
    assert f"{nameless} of firms, whose row is not there yet" in reason
    assert set(cells(two, first)["Partners"]) == {nameless, known}, "nobody has taken one out"
    two.sync()
    assert deal(two, first)["partner_ids"] is None

    two.acme.sandbox.advance(3600)  # so long that no run lists the deal once more by itself
    two.sync()
    two.firms.edit(nameless, {"Name": "Late"})
    two.sync()
    keys = {row[0] for row in two.acme.sql("SELECT id FROM crm.firms")}
    assert (set(deal(two, first)["partner_ids"]), waiting(two)) == (keys, [])

    two.acme.sql("UPDATE crm.deals SET partner_ids = ARRAY[partner_ids[2], partner_ids[1]]")
    counts = two.sync()
    assert (counts.local_writes, counts.remote_writes) == (0, 0), "their order says nothing"
    two.acme.sql(
        "UPDATE crm.deals SET partner_ids = ARRAY[(SELECT id FROM crm.firms WHERE name = 'Late')]"
    )
    two.sync()
    assert cells(two, first)["Partners"] == [nameless]
    two.sync()
    assert two.quiet() == (2, 0, 0)


def test_what_is_counted_is_right_wherever_a_row_was_moved_meanwhile(two: Crm) -> None:
    two.acme.sql("ALTER TABLE crm.firms ADD COLUMN deals integer")
    counted = "(SELECT count(*) FROM crm.deals d WHERE d.firm_id = row.id)"
    two.texts["firms"] += f"derived:\n  deals:\n    sql: {counted}\n    after: [deals]\n"
    one, other = (two.firms.add({"Name": name}) for name in ("One", "Other"))
    first = two.deals.add({"Name": "Moving", "Firm": [one]})
    two.sync()

    def moved_to(name: str) -> dict[str, int]:
        two.acme.sql(
            "UPDATE crm.deals SET firm_id = (SELECT id FROM crm.firms WHERE name = :n)", n=name
        )
        two.sync()
        rows = two.acme.sql("SELECT name, deals FROM crm.firms ORDER BY name")
        return {name: deals or 0 for name, deals in rows}

    assert moved_to("Other") == {"One": 0, "Other": 1}
    # What Airtable refuses is agreed on by nobody, and yet it was counted.
    two.acme.sandbox.fault("status", status=422, method="PATCH", times=9)
    assert moved_to("One") == {"One": 1, "Other": 0}
    two.acme.sandbox.clear_faults()
    assert cells(two, first)["Firm"] == [other]
    assert moved_to("Other") == {"One": 0, "Other": 1}
    assert (waiting(two), one != other) == ([], True)


def test_a_cell_on_hold_waits_for_a_person(two: Crm) -> None:
    first = two.deals.add({"Name": "Held", "Next step": "call"})
    two.sync()
    two.deals.edit(first, {"Next step": "write"})
    two.acme.sql("UPDATE crm.deals SET next_step = 'visit'")
    two.sync()
    assert (cells(two, first)["Next step"], deal(two, first)["next_step"]) == ("write", "visit")
    ((_, field, _, reason),) = waiting(two)
    assert field == "next_step"
    assert "--take airtable" in reason
    two.sync()
    assert (cells(two, first)["Next step"], deal(two, first)["next_step"]) == ("write", "visit")

    with two.acme.engine.begin() as connection:
        pair = two.pair("deals")
        assert not choose(connection, pair, "r", first, "name", "postgres")
        assert choose(connection, pair, "r", first, "next_step", "postgres")
    two.sync()
    assert (cells(two, first)["Next step"], deal(two, first)["next_step"]) == ("visit", "visit")
    assert waiting(two) == []
    assert two.acme.sql("SELECT field, winning_value, losing_value FROM reconciler.conflict") == [
        ("next_step", "visit", "write")
    ]


def test_a_clash_that_postgres_wins_is_kept_once_airtable_has_it(two: Crm) -> None:
    first = two.deals.add({"Name": "Owned", "Owner": "ann"})
    two.sync()
    two.deals.edit(first, {"Owner": "bob"})
    two.acme.sql("UPDATE crm.deals SET owner = 'cyd'")
    two.sync()
    assert (cells(two, first)["Owner"], deal(two, first)["owner"]) == ("cyd", "cyd")
    two.sync()
    assert two.acme.sql("SELECT field, winning_value, losing_value FROM reconciler.conflict") == [
        ("owner", "cyd", "bob")
    ]


def test_a_field_added_to_the_text_is_live_with_the_next_run(two: Crm) -> None:
    first = two.deals.add({"Name": "Growing"})
    two.sync()
    two.acme.sql("ALTER TABLE crm.deals ADD COLUMN note text")
    two.deals.create_field("Note", "multilineText")
    two.deals.edit(first, {"Note": "hello"})
    two.texts["deals"] += "  note: {from: Note, edited: both}\n"
    two.sync()
    assert deal(two, first)["note"] == "hello"
    assert two.quiet() == (2, 0, 0)


def test_the_leads_know_nothing_of_it(two: Crm) -> None:
    two.firms.add({"Name": "Acme"})
    two.sync()
    two.acme.sync()
    two.acme.assert_converged()
    assert two.acme.value("SELECT count(*) FROM reconciler.baseline WHERE sync = 'leads'") == 1
    assert two.quiet() == (2, 0, 0)
