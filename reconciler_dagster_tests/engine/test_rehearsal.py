"""What a rehearsal foresees is what the run then does, cell by cell; and nothing of it stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from reconciler_dagster.core.brakes import refuses_too_many
from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.core.sync import Derived
from reconciler_dagster.engine.brake import refusals_doubt
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.engine.diff import diff, stage_plan
from reconciler_dagster.engine.first_contact import rehearse_client
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.engine.rehearsal import rehearse, rehearse_run
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.world import World, world

FUNCTION = """
CREATE FUNCTION public.portal_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {rule} END $$;
CREATE TRIGGER portal_rule {when} ON public.leads
FOR EACH ROW EXECUTE FUNCTION public.portal_rule();
"""
# Each with what the portal's database has of its own.
VARIANTS = {
    "a check": "ALTER TABLE leads ADD CHECK (title <> 'refused')",
    "a unique column": "ALTER TABLE leads ADD UNIQUE (client_id, title)",
    "a foreign key": "ALTER TABLE leads ADD FOREIGN KEY (title) REFERENCES titles (title)",
    "a deferred foreign key": "ALTER TABLE leads ADD FOREIGN KEY (title) REFERENCES titles "
    "(title) DEFERRABLE INITIALLY DEFERRED",
    "a short column": "ALTER TABLE leads ALTER title TYPE varchar(6)",
    "an unmapped column that is needed": "ALTER TABLE leads ADD COLUMN region text; "
    "UPDATE leads SET region = ''; ALTER TABLE leads ALTER region SET NOT NULL",
    "a trigger that raises": FUNCTION.format(
        rule="IF NEW.title = 'refused' THEN RAISE 'not here'; END IF; RETURN NEW;",
        when="BEFORE INSERT OR UPDATE",
    ),
    "a trigger that changes": FUNCTION.format(
        rule="IF NEW.title = 'refused' THEN NEW.title := 'other'; END IF; RETURN NEW;",
        when="BEFORE INSERT OR UPDATE",
    ),
    "a trigger that drops": FUNCTION.format(
        rule="IF NEW.title = 'refused' THEN RETURN NULL; END IF; RETURN NEW;",
        when="BEFORE INSERT OR UPDATE",
    ),
}


def everything(acme: World) -> Any:
    return (
        acme.sql("SELECT to_jsonb(l) FROM leads l ORDER BY id"),
        {key: record["fields"] for key, record in acme.sandbox.records().items()},
        *(
            acme.sql(f"SELECT to_jsonb(t) FROM reconciler.{table} t ORDER BY to_jsonb(t)::text")  # noqa: S608
            for table in ("baseline", "quarantine", "conflict", "journal", "unsettled")
        ),
    )


def foresee(acme: World) -> ChangeSet:
    session = acme.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    return rehearse_run(session)


def quarantined(acme: World) -> dict[str, Counter[str]]:
    rows = acme.sql("SELECT direction, field FROM reconciler.quarantine")
    return {
        side: Counter(field for direction, field in rows if direction == side)
        for side in ("to_postgres", "to_airtable")
    }


@pytest.fixture
def busy(acme: World) -> World:
    """Edits on both sides of old leads and new ones, some of which will be refused."""
    acme.sql("CREATE TABLE titles (title varchar(255) PRIMARY KEY)")
    acme.sandbox.edit_many({r: {"Job Title": None} for r in acme.sandbox.records()})
    acme.sync()
    old = sorted(acme.sandbox.records())[:6]
    acme.sandbox.edit_many({r: {"Job Title": "refused", "Company": "new"} for r in old[:3]})
    for number in range(3):
        acme.sandbox.add({"First Name": f"N{number}", "Job Title": "refused", "Company": "new"})
    acme.update(old[3], hrq_status="Archive")
    acme.update(old[4], hrq_status="No such option", sms_stop_reason="because")
    acme.sandbox.edit(old[5], {"Company": "fine"})
    return acme


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_foreseen_is_what_happens(busy: World, variant: str) -> None:
    busy.sql(VARIANTS[variant])
    before = everything(busy)
    told = foresee(busy)
    assert everything(busy) == before, "nothing of it stays"

    leads = busy.value("SELECT count(*) FROM leads")
    ran = busy.sync()
    then = quarantined(busy)
    assert told.refused_in_postgres == then["to_postgres"]
    assert told.refused_in_airtable == then["to_airtable"] == {"hrq_status": 1}
    assert busy.value("SELECT count(*) FROM leads") - leads == told.inserts
    written = Counter(
        tuple(row)
        for row in busy.sql(
            "SELECT side, field FROM reconciler.history WHERE run_id = :r", r=ran.session.run_id
        )
    )
    promised = {("postgres", c): n for c, n in told.to_postgres.items()}
    promised |= {("airtable", c): n for c, n in told.to_airtable.items()}
    assert written == promised
    reasons = {row[0] for row in busy.sql("SELECT reason FROM reconciler.quarantine")}
    assert {why["reason"] for why in told.refusals} == reasons


def test_a_great_sync_that_is_dry_foresees_the_same(busy: World) -> None:
    busy.sql(VARIANTS["a check"])
    own = windows.session(busy)
    own.dry_run = True
    window = windows.list_window(own, EVERYTHING, own.run_id)
    told = windows.preview(own, window)
    assert told.refused_in_postgres == {"title": 6}
    assert told.refused_in_airtable == {"hrq_status": 1}
    windows.sweep(busy)
    assert quarantined(busy)["to_postgres"] == {"title": 6}


def hold_for_long(connection: psycopg.Connection[Any]) -> None:
    """What its transaction locks stays so, on a busy machine and an odd database too."""
    for limit in ("idle_in_transaction_session_timeout", "transaction_timeout"):
        connection.execute(f"SET LOCAL {limit} = 0")


def test_a_lead_that_somebody_holds_is_not_waited_for(busy: World) -> None:
    record_id = min(busy.sandbox.records())
    session = busy.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    ((staged, changes),) = stage_plan(session)
    with psycopg.connect(busy.settings.require_database_url()) as other:
        hold_for_long(other)
        other.execute("SELECT FROM leads WHERE airtable_record_id = %s FOR UPDATE", [record_id])
        assert rehearse(session, staged, changes).unexamined == {record_id}


def test_a_part_that_waits_too_long_is_given_up(busy: World) -> None:
    """A trigger of the portal's waits for a table that somebody has locked."""
    busy.sql("CREATE TABLE elsewhere (n int)")
    busy.sql(
        FUNCTION.format(
            rule="PERFORM n FROM elsewhere; RETURN NEW;", when="BEFORE INSERT OR UPDATE"
        )
    )
    session = busy.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    ((staged, changes),) = stage_plan(session)
    with psycopg.connect(busy.settings.require_database_url()) as other:
        hold_for_long(other)
        other.execute("LOCK TABLE elsewhere")
        found = rehearse(session, staged, changes)
    assert found.unexamined == {r for r, c in changes.items() if c.insert or c.to_postgres}


def test_triggers_and_the_rows_that_they_write_are_counted(busy: World) -> None:
    """Exactly once each, although Postgres refused some at the first attempt."""
    busy.sql("CREATE TABLE told (lead uuid)")
    busy.sql(
        FUNCTION.format(
            rule="INSERT INTO told VALUES (NEW.id), (NEW.id); RETURN NULL;",
            when="AFTER INSERT OR UPDATE OF company, title",
        )
    )
    busy.sql(VARIANTS["a check"])
    session = busy.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    ((staged, changes),) = stage_plan(session)
    found = rehearse(session, staged, changes, ["portal_rule"]).fires
    busy.sync()
    rows = busy.value("SELECT count(*) FROM told")
    assert found.rows == {("public.told", "inserted"): rows}
    assert found.fired == {"portal_rule": rows // 2}


def test_a_trigger_about_a_column_fires_for_leads_that_change_it_alone(busy: World) -> None:
    """It may send a letter each time, and ask nothing of the old value."""
    busy.sql("CREATE TABLE told (record_id text)")
    busy.sql(
        FUNCTION.format(
            rule="INSERT INTO told VALUES (NEW.airtable_record_id); RETURN NULL;",
            when="AFTER UPDATE OF title",
        )
    )
    session = busy.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    ((staged, changes),) = stage_plan(session)
    found = rehearse(session, staged, changes, ["portal_rule"]).fires
    busy.sync()
    told_of = {row[0] for row in busy.sql("SELECT record_id FROM told")}
    assert told_of == {r for r, change in changes.items() if "title" in change.to_postgres}
    assert len(told_of) == 3 < len(changes)
    assert found.fired == {"portal_rule": 3}


def test_many_cells_that_would_be_refused_stop_the_run_once(acme: World) -> None:
    acme.sql("UPDATE leads SET hrq_status = 'No such option'")
    session = acme.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    told = diff(session)
    assert told.to_airtable == {}
    assert (told.refused_in_airtable, told.newly_refused) == ({"hrq_status": 40}, 40)
    assert refusals_doubt(told) is None, "40 are no more than 50"
    many = ChangeSet(0, 0, {}, {"notes": 10}, 0, {}, [], {}, {"hrq_status": 51}, [], 51)
    assert str(refusals_doubt(many)).startswith("Of 61 cells for Airtable 51 would be refused")
    acme.sync()
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now()")
    session = acme.session(dry_run=True)
    pull_airtable(session, CHANGED)
    pull_postgres(session)
    again = diff(session)
    assert (again.refused_in_airtable, again.newly_refused) == ({"hrq_status": 40}, 0)


@pytest.mark.parametrize(
    ("refused", "outbound", "stops"),
    [(50, 50, False), (51, 51, True), (100, 2000, False), (101, 2000, True)],
)
def test_the_brake_on_refusals(refused: int, outbound: int, stops: bool) -> None:
    assert refuses_too_many(refused, outbound) is stops


@pytest.mark.parametrize("refused", [0, 30])
def test_the_report_names_the_calls_that_the_run_then_makes(portal_db: str, refused: int) -> None:
    """Metadata, pages, looks, writes, and the look at what was written."""
    with world(portal_db, leads=350) as here:
        records = sorted(here.sandbox.records())
        here.sandbox.edit_many({r: {"HRQ Status": None} for r in records})
        here.sql(
            "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
            "hrq_status) SELECT c.id, r.id, 'A', '', '', "
            "CASE WHEN r.n <= :refused THEN 'No such option' ELSE 'Archive' END "
            "FROM clients c, unnest(CAST(:ids AS text[])) WITH ORDINALITY AS r (id, n)",
            ids=records[:230],
            refused=refused,
        )
        told = rehearse_client([here.session(dry_run=True)])
        spent = here.sync().counts
        assert spent.remote_writes == 230 - refused
        assert abs(told.calls - spent.airtable_calls) <= spent.airtable_calls / 10


def test_what_the_definitions_own_sql_writes_is_rehearsed_too(portal_db: str) -> None:
    """Derived columns and events, in tables that no sync knows."""
    with world(portal_db, leads=40) as acme:
        acme.sql("ALTER TABLE leads ADD COLUMN full_name text; CREATE TABLE told (lead uuid)")
        own = replace(
            acme.map,
            derived=(Derived("full_name", "row.first_name || ' ' || row.last_name"),),
            events=(
                "INSERT INTO told SELECT w.id FROM written w "
                "WHERE NOT EXISTS (SELECT FROM told t WHERE t.lead = w.id)",
            ),
        )
        dry, session = acme.session(dry_run=True), acme.session()
        dry.map = session.map = own
        leads = len(acme.sandbox.records())
        told = rehearse_client([dry])
        assert told.rows == []
        assert told.follows == [
            {"table": "public.leads", "kind": "updated", "rows": leads},
            {"table": "public.told", "kind": "inserted", "rows": leads},
        ]
        assert acme.sql("SELECT FROM told") == acme.sql("SELECT FROM leads") == []
        with client_lock(acme.engine, acme.client.id, session.run_id, 5):
            pull_airtable(session, CHANGED)
            pull_postgres(session)
            diff(session)
            push(session)
        assert len(acme.sql("SELECT FROM told")) == leads
        assert len(acme.sql("SELECT FROM leads WHERE full_name IS NOT NULL")) == leads
