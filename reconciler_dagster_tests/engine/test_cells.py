"""One cell that Postgres refuses stops alone: of a new lead, and where a rule spans columns."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import event

from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.engine import local, push
from reconciler_dagster_tests.world import ANN, World

RAISING = """
CREATE FUNCTION public.portal_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {rule} END $$;
CREATE TRIGGER portal_rule {when} ON public.leads
FOR EACH ROW EXECUTE FUNCTION public.portal_rule();
"""


def trigger(acme: World, rule: str, when: str = "BEFORE INSERT OR UPDATE") -> None:
    acme.sql(RAISING.format(rule=rule, when=when))


def held(acme: World) -> dict[tuple[str, str], tuple[str, Any]]:
    """Reason and value of what is in quarantine, by record and field."""
    rows = acme.sql("SELECT record_id, field, reason, value, direction FROM reconciler.quarantine")
    assert {row[4] for row in rows} <= {"to_postgres"}
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def mend(acme: World) -> None:
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    acme.sync()
    assert held(acme) == {}
    acme.assert_converged()
    acme.assert_quiet()


CONSTRAINTS = {
    "check": ("ADD CONSTRAINT own CHECK (phone <> 'bad')", "DROP CONSTRAINT own", "own"),
    "check over two columns": (
        "ADD CONSTRAINT own CHECK (coalesce(phone, '') <> 'bad' OR coalesce(company, '') = 'x') "
        "NOT VALID",
        "DROP CONSTRAINT own",
        "own",
    ),
    "unique index": (
        "ADD CONSTRAINT own UNIQUE (client_id, phone)",
        "DROP CONSTRAINT own",
        "own",
    ),
    "foreign key": (
        "ADD CONSTRAINT own FOREIGN KEY (phone) REFERENCES phones (phone) NOT VALID",
        "DROP CONSTRAINT own",
        "own",
    ),
    "deferred foreign key": (
        "ADD CONSTRAINT own FOREIGN KEY (phone) REFERENCES phones (phone) "
        "DEFERRABLE INITIALLY DEFERRED NOT VALID",
        "DROP CONSTRAINT own",
        "own",
    ),
    "enum": (
        "ALTER COLUMN title TYPE mood USING title::mood",
        "ALTER COLUMN title TYPE text",
        "invalid input value for enum mood",
    ),
    "domain": ("ALTER COLUMN phone TYPE short", "ALTER COLUMN phone TYPE text", "short_check"),
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_a_new_lead_arrives_without_the_cell_that_is_refused(acme: World, kind: str) -> None:
    acme.sql("CREATE TABLE phones (phone varchar(20) PRIMARY KEY)")
    acme.sql(
        "DO $$ BEGIN EXECUTE (SELECT format('CREATE TYPE mood AS ENUM (%s)', "
        "string_agg(DISTINCT quote_literal(title), ',')) FROM leads); END $$"
    )
    acme.sql("CREATE DOMAIN short AS varchar(20) CHECK (value <> 'bad')")
    if kind == "unique index":
        acme.sandbox.add({"Phone": "bad", "Company": "First"})
    acme.sync()
    if "foreign" in kind:
        acme.sql("INSERT INTO phones SELECT DISTINCT phone FROM leads WHERE phone IS NOT NULL")
    column, name = ("title", "Job Title") if kind == "enum" else ("phone", "Phone")
    add, drop, told = CONSTRAINTS[kind]
    acme.sql(f"ALTER TABLE leads {add}")
    record_id = acme.sandbox.add({name: "bad", "Company": "Arrives", "HRQ Status": "Review"})
    good = acme.sandbox.add({"Company": "Beside it"})
    acme.sync()
    lead = acme.lead(record_id)
    assert (lead[column], lead["company"], lead["hrq_status"]) == (None, "Arrives", "Review")
    assert acme.lead(good)["company"] == "Beside it"
    ((cell, (reason, value)),) = held(acme).items()
    assert (cell, value) == ((record_id, column), "bad")
    assert told in reason
    acme.sync(EVERYTHING)  # the cell is tried as any other, and nothing is taken back
    assert acme.cell(record_id, name) == "bad"
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 0
    if kind == "enum":
        acme.sql("ALTER TYPE mood ADD VALUE 'bad'")
    else:
        acme.sql(f"ALTER TABLE leads {drop}")
    mend(acme)
    assert acme.lead(record_id)[column] == "bad"


def test_several_bad_cells_of_one_lead_are_left_out_each(acme: World) -> None:
    acme.sql("ALTER TABLE leads ADD CONSTRAINT a CHECK (phone <> 'bad') NOT VALID")
    acme.sql("ALTER TABLE leads ADD CONSTRAINT b CHECK (company <> 'bad') NOT VALID")
    trigger(acme, "IF NEW.title = 'bad' THEN RAISE 'not this title'; END IF; RETURN NEW;")
    record_id = acme.sandbox.add(
        {"Phone": "bad", "Company": "bad", "Job Title": "bad", "Last Name": "Lovelace"}
    )
    acme.sync()
    assert acme.lead(record_id)["last_name"] == "Lovelace"
    cells = held(acme)
    assert {field for _, field in cells} == {"phone", "company", "title"}
    assert "not this title" in cells[record_id, "title"][0]


def test_the_column_s_default_stands_in_and_is_nobody_s_edit(acme: World) -> None:
    acme.sql("ALTER TABLE leads ALTER hrq_status SET DEFAULT 'Archive'")
    acme.sql("ALTER TABLE leads ADD CONSTRAINT own CHECK (hrq_status <> 'Review') NOT VALID")
    first, second = (acme.sandbox.add({"HRQ Status": "Review"}) for _ in range(2))
    acme.sync()
    assert acme.lead(first)["hrq_status"] == "Archive"
    assert set(held(acme)) == {(first, "hrq_status"), (second, "hrq_status")}
    acme.sandbox.edit(first, {"HRQ Status": None})
    acme.sync()
    assert (acme.cell(first, "HRQ Status"), acme.lead(first)["hrq_status"]) == (None, None)
    acme.update(second, enrolled_message_count=3)
    acme.sync()
    assert acme.cell(second, "HRQ Status") == "Review"
    acme.sql("ALTER TABLE leads DROP CONSTRAINT own")
    mend(acme)
    assert acme.lead(second)["hrq_status"] == "Review"
    assert acme.value("SELECT count(*) FROM reconciler.conflict") == 0


def test_a_default_that_is_refused_too_is_left_empty(acme: World) -> None:
    acme.sql(
        "ALTER TABLE leads ADD CONSTRAINT own CHECK (lead_source <> 'Standard Form') NOT VALID"
    )
    acme.sandbox.add_option("Campaign (CORRECTED)", "Standard Form")
    record_id = acme.sandbox.add({"Campaign (CORRECTED)": "Standard Form"})
    acme.sync()
    assert acme.lead(record_id)["lead_source"] is None
    assert set(held(acme)) == {(record_id, "lead_source")}


@pytest.mark.parametrize(
    ("constraint", "named"),
    [
        ("ADD CONSTRAINT own CHECK (email <> 'bad@x.example') NOT VALID", "leads.email"),
        ("ADD COLUMN region text NOT NULL DEFAULT 'x', ALTER region DROP DEFAULT", "leads.region"),
    ],
)
def test_only_a_cell_that_can_be_neither_holds_the_lead(
    acme: World, constraint: str, named: str
) -> None:
    for clause in constraint.split(", "):
        acme.sql(f"ALTER TABLE leads {clause}")
    record_id = acme.sandbox.add({"Email": "bad@x.example", "Company": "Waits"})
    edited = min(acme.sides()[1])
    acme.sandbox.edit(edited, {"Company": "Goes on"})
    acme.sync()
    assert acme.lead(edited)["company"] == "Goes on"
    ((cell, (reason, _)),) = held(acme).items()
    assert cell == (record_id, "(lead)")
    assert named in reason
    acme.sql("ALTER TABLE leads DROP CONSTRAINT IF EXISTS own, DROP COLUMN IF EXISTS region")
    mend(acme)
    assert acme.lead(record_id)["company"] == "Waits"


def test_a_lead_that_the_portal_drops_is_told_and_not_asked_for_ever(acme: World) -> None:
    trigger(acme, "IF NEW.company = 'Drop' THEN RETURN NULL; END IF; RETURN NEW;", "BEFORE INSERT")
    record_id = acme.sandbox.add({"Company": "Drop"})
    acme.sync()
    ((cell, (reason, _)),) = held(acme).items()
    assert (cell, "drops the new lead" in reason) == ((record_id, "(lead)"), True)
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 0
    acme.sql("DROP TRIGGER portal_rule ON leads")
    mend(acme)


def test_a_trouble_in_another_table_is_not_taken_for_the_lead_s_own(acme: World) -> None:
    """The portal's log refuses a phone under a column and a constraint of the same names."""
    acme.sql("CREATE TABLE phone_log (company text CONSTRAINT own CHECK (company <> 'bad'))")
    trigger(acme, "INSERT INTO public.phone_log VALUES (NEW.phone); RETURN NEW;")
    record_id = acme.sandbox.add({"Phone": "bad", "Company": "Arrives"})
    acme.sync()
    assert acme.lead(record_id)["company"] == "Arrives"
    assert set(held(acme)) == {(record_id, "phone")}


def test_a_lead_comes_back_without_what_is_gone_meanwhile_and_with_the_rest(acme: World) -> None:
    record_id = min(acme.sides()[1])
    acme.sql("INSERT INTO campaigns (client_id, name) SELECT id, 'Spring' FROM clients")
    acme.sql("ALTER TABLE leads DROP CONSTRAINT leads_campaign_id_fkey")
    acme.sql(
        "UPDATE leads SET campaign_id = (SELECT id FROM campaigns), enrolled_message_count = 4"
    )
    acme.sync()
    before = acme.lead(record_id)
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    acme.sql("DELETE FROM campaigns")
    acme.sql(
        "ALTER TABLE leads ADD CONSTRAINT campaign FOREIGN KEY (campaign_id) "
        "REFERENCES campaigns (id) NOT VALID"
    )
    acme.sync()
    same = before | {"campaign_id": None, "updated_at": None}
    assert acme.lead(record_id) | {"updated_at": None} == same
    assert set(held(acme)) == {(record_id, "campaign_id")}
    mend(acme)


@pytest.mark.parametrize("known", [True, False], ids=["agreed on", "deleted row alone"])
def test_a_lead_that_comes_back_has_what_it_had_in_place_of_a_cell_that_is_refused(
    acme: World, known: bool
) -> None:
    """Not the default: that would read as an edit of the portal."""
    first, second = sorted(acme.sides()[1])[:2]
    acme.sql("ALTER TABLE leads ALTER hrq_status SET DEFAULT 'Qualified'")
    acme.sandbox.edit(first, {"HRQ Status": "Archive"})
    acme.sandbox.edit(second, {"HRQ Status": None})
    acme.sync()
    acme.sql("ALTER TABLE leads ADD CONSTRAINT own CHECK (hrq_status <> 'Review') NOT VALID")
    for record_id in (first, second):
        acme.sandbox.edit(record_id, {"HRQ Status": "Review"})
    acme.sql("DELETE FROM leads WHERE airtable_record_id IN (:a, :b)", a=first, b=second)
    if known:
        acme.sql("DELETE FROM reconciler.unsettled")
    acme.sync(EVERYTHING)
    assert acme.lead(first)["hrq_status"] == "Archive"
    assert acme.lead(second)["hrq_status"] is None
    assert acme.sides()[2][first]["hrq_status"] == "Archive"
    acme.sandbox.edit(first, {"HRQ Status": None})
    acme.sync()
    assert acme.lead(first)["hrq_status"] is None
    acme.sql("ALTER TABLE leads DROP CONSTRAINT own")
    mend(acme)


def test_a_column_that_joined_since_has_its_default_in_a_lead_that_comes_back(acme: World) -> None:
    record_id = min(acme.sides()[1])
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=record_id)
    acme.sql("ALTER TABLE leads ADD COLUMN mood text NOT NULL DEFAULT 'warm'")
    acme.sql("ALTER TABLE leads ADD COLUMN both_names text GENERATED ALWAYS AS (last_name) STORED")
    acme.sync()
    assert acme.lead(record_id)["mood"] == "warm"
    assert held(acme) == {}


def test_a_domain_that_must_be_given_does_not_keep_leads_away(acme: World) -> None:
    acme.sql("CREATE DOMAIN given AS text NOT NULL")
    acme.sql("ALTER TABLE leads ADD COLUMN extra given DEFAULT 'x'")
    record_id = acme.sandbox.add({"Company": "Arrives"})
    acme.sync()
    assert (acme.lead(record_id)["extra"], held(acme)) == ("x", {})


def test_of_an_update_too_one_cell_of_a_rule_over_columns_stops_alone(acme: World) -> None:
    """Cells that need each other go in together, beside one that is bad."""
    record_id = acme.sandbox.add({"Company": "Old"})
    acme.sync()
    acme.sql(
        "ALTER TABLE leads ADD CONSTRAINT pair CHECK ((title IS NULL) = "
        "(short_link_id IS NULL)) NOT VALID"
    )
    trigger(acme, "IF NEW.phone = 'bad' THEN RAISE 'not this phone'; END IF; RETURN NEW;")
    cells = {"Company": "New", "Short Link ID": "x", "Job Title": "New", "Phone": "bad"}
    acme.sandbox.edit(record_id, cells)
    acme.sync()
    lead = acme.lead(record_id)
    assert (lead["company"], lead["short_link_id"], lead["title"]) == ("New", "x", "New")
    assert set(held(acme)) == {(record_id, "phone")}


def test_a_cell_that_a_trigger_changes_in_a_new_lead_is_not_sent_back(acme: World) -> None:
    trigger(acme, "NEW.sms_stop_reason := 'Said so'; RETURN NEW;", "BEFORE INSERT")
    record_id = acme.sandbox.add({"SMS Stop Reason": "Asked twice"})
    acme.sync()
    acme.sandbox.edit(record_id, {"SMS Stop Reason": None})
    acme.sync()
    assert acme.cell(record_id, "SMS Stop Reason") is None
    assert acme.lead(record_id)["sms_stop_reason"] is None


def test_a_text_too_long_for_an_index_stops_alone(acme: World) -> None:
    acme.sql("CREATE INDEX ON leads (notes)")
    acme.sql(
        "CREATE TABLE noise AS SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n"
    )
    notes = acme.value("SELECT * FROM noise")
    record_id = acme.sandbox.add({"Notes": notes, "Company": "Arrives", "Claimed By": ANN})
    acme.sync()
    assert acme.lead(record_id)["company"] == "Arrives"
    assert set(held(acme)) == {(record_id, "notes")}


def test_many_bad_cells_cost_few_statements(acme: World) -> None:
    """200 of 1,000 new leads have a cell that a constraint refuses, 20 one that a trigger does."""
    acme.sql("ALTER TABLE leads ADD CONSTRAINT own CHECK (phone <> 'bad') NOT VALID")
    trigger(acme, "IF NEW.title = 'bad' THEN RAISE 'not this title'; END IF; RETURN NEW;")
    for number in range(200):
        bad = {"Phone": "bad"} | ({"Job Title": "bad"} if number % 10 == 0 else {})
        acme.sandbox.add({"Company": f"Company {number}"} | bad)
    for number in range(200, 1000):
        acme.sandbox.add({"Company": f"Company {number}"})
    asked: list[str] = []
    event.listen(
        acme.engine,
        "before_cursor_execute",
        lambda *args: asked.append(args[2]),
    )
    with patch.object(push, "write_local", wraps=local.write_local) as chunks:
        acme.sync()
    attempts = [statement for statement in asked if "reconciler.attempt" in statement]
    assert acme.value("SELECT count(*) FROM leads WHERE company LIKE 'Company %'") == 1000
    assert len(held(acme)) == 220
    assert len(attempts) <= 20 * chunks.call_count


# When a lead was created


def test_a_new_lead_is_as_old_as_its_record(acme: World) -> None:
    record_id = acme.sandbox.add({"Company": "Old"})
    acme.sandbox.advance(3600)
    acme.sync()
    created = acme.sandbox.record(record_id)["createdTime"]
    stamp = "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM leads "
    where = "WHERE airtable_record_id = :id"
    assert acme.value(stamp + where, id=record_id) == created[:19]
    acme.update(record_id, created_at="2020-01-01T00:00:00Z")
    acme.sandbox.edit(record_id, {"Company": "Edited"})
    acme.sync(EVERYTHING)
    assert acme.value(stamp + where, id=record_id) == "2020-01-01T00:00:00"


@pytest.mark.parametrize(
    "change",
    [
        "DROP COLUMN created_at",
        "ALTER created_at TYPE date",
        "ALTER created_at TYPE timestamp",
        "ALTER created_at DROP DEFAULT, ALTER created_at TYPE text",
    ],
)
def test_a_portal_may_note_it_otherwise_or_not_at_all(acme: World, change: str) -> None:
    acme.sql(f"ALTER TABLE leads ALTER created_at DROP NOT NULL, {change}")
    record_id = acme.sandbox.add({"Company": "New"})
    acme.sync()
    lead, created = acme.lead(record_id), acme.sandbox.record(record_id)["createdTime"]
    if change.endswith("text") or change.startswith("DROP"):
        assert lead.get("created_at") is None
    else:
        assert lead["created_at"][:10] == created[:10]
    assert held(acme) == {}
