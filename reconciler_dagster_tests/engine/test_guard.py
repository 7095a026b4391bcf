"""What was not noted is found by comparing; what stands in the way of a run is said at once."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.drift import unexplained
from reconciler_dagster.core.guard import Unfit, problems
from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster.postgres import guard, trigger
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import writing
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.postgres.report import drift_report
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.security.test_least_privilege import limited as as_role
from reconciler_dagster_tests.windows import audited, inactive, next_hour, states, sweep
from reconciler_dagster_tests.world import World

NAME = trigger.EDIT_TRIGGER


def ids(acme: World, count: int) -> list[str]:
    return sorted(acme.sandbox.records())[:count]


def told(acme: World) -> list[str]:
    with acme.engine.connect() as connection:
        watched = trigger.Watched(acme.map.table, acme.map.name)
        facts = guard.read_facts(connection, watched, acme.client.id)
    return [str(problem) for problem in problems(facts)]


def edit_deleted_and_emptied(acme: World) -> None:
    """Three leads' worth of work that no trigger sees."""
    edited, deleted, emptied = ids(acme, 3)
    acme.sandbox.edit(emptied, {"SMS Stop Reason": "because"})
    acme.update(edited, hrq_status="Archive")
    acme.sql("DELETE FROM leads WHERE airtable_record_id = :id", id=deleted)
    acme.update(emptied, sms_stop_reason=None)


def found(acme: World) -> None:
    """A delta has taken it all over."""
    edited, deleted, _ = ids(acme, 3)
    assert acme.cell(edited, "HRQ Status") == "Archive"
    assert acme.lead(deleted)["is_active"]
    acme.assert_converged()


def test_a_trigger_that_was_switched_off_and_on_again(acme: World) -> None:
    acme.sync()
    acme.sql(f"ALTER TABLE leads DISABLE TRIGGER {NAME}")
    edit_deleted_and_emptied(acme)
    acme.sql(f"ALTER TABLE leads ENABLE ALWAYS TRIGGER {NAME}")
    assert told(acme) == []
    ran = acme.sync()
    assert any("had been overlooked" in line for line in ran.pulled.notes)
    found(acme)
    acme.assert_quiet()
    assert acme.sync().pulled.notes == [], "what was compared is not compared again"


def test_while_it_is_off_every_run_finds_what_was_edited(acme: World) -> None:
    acme.sql(f"ALTER TABLE leads DISABLE TRIGGER {NAME}")
    edit_deleted_and_emptied(acme)
    acme.sync()
    found(acme)
    edited = ids(acme, 4)[-1]  # not one that the delta lists anyway, as it was written just now
    acme.update(edited, hrq_status="Review")
    acme.sync()
    assert acme.cell(edited, "HRQ Status") == "Review"
    (sentence,) = told(acme)
    assert f"{NAME} of public.leads is disabled" in sentence
    assert "reconciler migrate" in sentence
    acme.assert_quiet()
    assert upgrade(acme.engine) == [
        f"Edits in Postgres are not noted: the trigger {NAME} of public.leads is disabled."
    ]
    assert told(acme) == []
    assert upgrade(acme.engine) == []


def test_what_replication_writes_is_noted(acme: World) -> None:
    acme.sync()
    (edited,) = ids(acme, 1)
    with acme.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(
            "UPDATE leads SET hrq_status = 'Archive' WHERE airtable_record_id = %s", (edited,)
        )
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 1
    acme.sync()
    assert acme.cell(edited, "HRQ Status") == "Archive"


def swap(acme: World) -> None:
    acme.sql("CREATE TABLE swapped (LIKE leads INCLUDING ALL)")
    acme.sql("INSERT INTO swapped SELECT * FROM leads")
    acme.sql("ALTER TABLE leads RENAME TO leads_before")
    acme.sql("ALTER TABLE swapped RENAME TO leads")


def test_a_table_that_was_made_anew(acme: World) -> None:
    acme.sync()
    swap(acme)
    edit_deleted_and_emptied(acme)
    (sentence,) = told(acme)
    assert "is gone" in sentence
    acme.sync()
    found(acme)
    assert len(upgrade(acme.engine)) == 2
    (edited,) = ids(acme, 1)
    acme.sync()
    acme.update(edited, hrq_status="Review")
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 1
    acme.sql("UPDATE leads_before SET notes = 'of the past'")
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 1


def test_a_table_that_was_swapped_and_mended_between_two_runs(acme: World) -> None:
    acme.sync()
    swap(acme)
    edit_deleted_and_emptied(acme)
    upgrade(acme.engine)
    acme.sync()
    found(acme)
    acme.assert_quiet()


def test_a_function_that_was_replaced_and_put_back(acme: World) -> None:
    acme.sync()
    acme.sql(
        "CREATE OR REPLACE FUNCTION reconciler.note_edit() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN COALESCE(NEW, OLD); END'"
    )
    edit_deleted_and_emptied(acme)
    assert "reconciler.note_edit is gone, or not as" in told(acme)[0]
    with acme.engine.begin() as connection:
        trigger.put_functions(connection)
    assert told(acme) == []
    acme.sync()
    found(acme)


def test_a_transaction_that_ends_after_the_comparison(acme: World) -> None:
    """It wrote while the function was another one, and nobody could see it yet."""
    acme.sync()
    (edited,) = ids(acme, 1)
    acme.sql(
        "CREATE OR REPLACE FUNCTION reconciler.note_edit() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN COALESCE(NEW, OLD); END'"
    )
    with acme.engine.begin() as slow:
        slow.exec_driver_sql(
            "UPDATE leads SET hrq_status = 'Archive' WHERE airtable_record_id = %s", (edited,)
        )
        with acme.engine.begin() as connection:
            trigger.put_functions(connection)
        acme.sync()
    acme.sync()
    assert acme.cell(edited, "HRQ Status") == "Archive"
    assert acme.sync().pulled.notes == []


def test_trouble_is_told_until_a_run_has_made_up_for_it(acme: World) -> None:
    acme.sync()
    acme.sql("ALTER TABLE reconciler.unsettled ADD CONSTRAINT no CHECK (cause = 'no') NOT VALID")
    (edited,) = ids(acme, 1)
    acme.update(edited, hrq_status="Archive")
    (sentence,) = told(acme)
    assert "could not be noted" in sentence
    assert "SQLSTATE 23514" in sentence
    acme.sql("ALTER TABLE reconciler.unsettled DROP CONSTRAINT no")
    acme.sync()
    assert acme.cell(edited, "HRQ Status") == "Archive"
    assert told(acme) == []
    assert acme.value("SELECT count(*) FROM reconciler.trigger_trouble") == 0


@pytest.mark.parametrize("table", ["unsettled", "trigger_trouble", "guard"])
def test_a_table_of_the_engine_is_gone(acme: World, table: str) -> None:
    acme.sync()
    (edited,) = ids(acme, 1)
    acme.sql(f"DROP TABLE reconciler.{table}")
    acme.update(edited, hrq_status="Archive")
    with pytest.raises(Unfit, match=rf"reconciler\.{table} is gone.*reconciler migrate"):
        acme.sync()
    assert len(upgrade(acme.engine)) == 1
    assert [line for line in told(acme) if "could not be noted" not in line] == []
    acme.sync()
    assert acme.cell(edited, "HRQ Status") == "Archive"
    acme.update(edited, hrq_status="Review")
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 1


@pytest.mark.parametrize(
    ("moved", "back"),
    [
        ("ALTER client_id TYPE text", "ALTER client_id TYPE uuid USING client_id::uuid"),
        ("RENAME client_id TO customer", "RENAME customer TO client_id"),
        (
            "ALTER airtable_record_id TYPE json USING to_json(airtable_record_id)",
            "ALTER airtable_record_id TYPE text USING airtable_record_id #>> '{}'",
        ),
        ("RENAME airtable_record_id TO record", "RENAME record TO airtable_record_id"),
    ],
)
def test_a_key_that_moves_and_comes_back(acme: World, moved: str, back: str) -> None:
    acme.sync()
    acme.sql("ALTER TABLE leads DROP CONSTRAINT leads_client_id_fkey")
    acme.sql("ALTER TABLE leads DROP CONSTRAINT leads_airtable_record_id_key")
    (edited,) = ids(acme, 1)
    id_ = acme.lead(edited)["id"]
    acme.sql(f"ALTER TABLE leads {moved}")
    acme.sql("UPDATE leads SET hrq_status = 'Archive' WHERE id = :id", id=id_)
    with pytest.raises(ConfigurationError, match="leads"):
        acme.sync()
    acme.sql(f"ALTER TABLE leads {back}")
    acme.sql("ALTER TABLE leads ADD UNIQUE (airtable_record_id)")
    acme.sync()
    assert acme.cell(edited, "HRQ Status") == "Archive"


def test_a_dry_run_tells_of_it_and_notes_nothing(acme: World) -> None:
    acme.sync()
    acme.sql(f"ALTER TABLE leads DISABLE TRIGGER {NAME}")
    edit_deleted_and_emptied(acme)
    planned = invariants.dry_run(acme, CHANGED)
    assert acme.sync(CHANGED).change_set == planned
    found(acme)


def test_first_contact_needs_no_comparison(acme: World) -> None:
    acme.sql("DELETE FROM reconciler.baseline; DELETE FROM reconciler.guard")
    assert acme.sync().pulled.notes == []
    acme.assert_quiet()


def test_what_is_noted_already_is_not_noted_twice(acme: World) -> None:
    acme.sync()
    (edited,) = ids(acme, 1)
    acme.update(edited, hrq_status="Archive")
    acme.sql("DELETE FROM reconciler.guard")
    ran = acme.sync()
    assert [note for note in ran.pulled.notes if note.endswith(": 0 had been overlooked.")]


def insert(acme: World, record_id: str | None, **more: Any) -> None:
    """As by a person."""
    row = {"client_id": acme.client.id, "airtable_record_id": record_id, "first_name": "Own"}
    row |= {"last_name": "", "email": ""} | more
    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    acme.sql(f"INSERT INTO leads ({names}) VALUES ({marks})", **row)  # noqa: S608


def test_a_lead_that_came_while_nobody_looked(acme: World) -> None:
    """Its record is old: no delta lists it."""
    acme.sync()
    (record_id,) = ids(acme, 1)
    acme.sql(f"ALTER TABLE leads DISABLE TRIGGER {NAME}")
    with acme.engine.connect() as connection, writing(connection):
        connection.exec_driver_sql(
            "DELETE FROM reconciler.baseline WHERE record_id = %s", (record_id,)
        )
        connection.exec_driver_sql(
            "UPDATE leads SET hrq_status = NULL WHERE airtable_record_id = %s", (record_id,)
        )
    acme.sync()
    acme.assert_converged()


OWN: list[str | None] = ["manual-17", "", None]


@pytest.mark.parametrize("own", OWN)
def test_a_lead_of_the_portal_s_own_is_nobody_s_to_miss(acme: World, own: str | None) -> None:
    acme.sql("ALTER TABLE leads ALTER airtable_record_id DROP NOT NULL")
    acme.sync()
    insert(acme, own)
    acme.sql("UPDATE leads SET notes = 'by hand' WHERE first_name = 'Own'")
    acme.sync()
    acme.sync(EVERYTHING)
    acme.sql("DELETE FROM reconciler.guard")
    acme.sync()
    for _ in range(3):
        sweep(acme)
        next_hour(acme)
        audited(acme)
    assert inactive(acme) == set()
    assert states(acme) == {}
    assert acme.value("SELECT count(*) FROM reconciler.quarantine") == 0
    assert acme.value("SELECT count(*) FROM reconciler.unsettled") == 0
    assert acme.value("SELECT notes FROM leads WHERE first_name = 'Own'") == "by hand"
    with acme.engine.connect() as connection:
        report = drift_report(connection, acme.pair)
    assert (report["portal_only"], report["not_in_airtable"]) == (1, 0)
    assert unexplained(report) == []
    acme.assert_quiet()


def limited(acme: World) -> World:
    """The engine under the role of migrations/least_privilege.sql."""
    here = as_role(acme)
    here.settings.calls_per_second = 1000
    return here


@pytest.mark.parametrize("table", ["clients", "leads", "users"])
def test_rows_that_are_hidden_are_not_taken_for_missing(acme: World, table: str) -> None:
    role = limited(acme)
    (edited,) = ids(acme, 1)
    acme.update(edited, hrq_status="Archive")
    acme.sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    for to, rows in (("", "id IS NOT NULL"), ("FOR UPDATE", "true"), ("", "true")):
        with pytest.raises(Unfit, match=rf"hide rows of public\.{table} .*BYPASSRLS"):
            role.sync()
        acme.sql(f"DROP POLICY IF EXISTS p ON {table}")
        acme.sql(f"CREATE POLICY p ON {table} {to} TO reconciler_engine USING ({rows})")
    role.sync()
    assert acme.cell(edited, "HRQ Status") == "Archive"
    acme.sql(f"CREATE POLICY q ON {table} AS RESTRICTIVE USING (id IS NOT NULL)")
    with pytest.raises(Unfit, match=f"hide rows of public.{table} "):
        role.session().guard  # noqa: B018
    acme.session().guard  # noqa: B018 - its owner sees them all
    role.engine.dispose()


def test_a_client_that_is_hidden_is_not_taken_for_none(acme: World) -> None:
    role = limited(acme)
    acme.sql("ALTER TABLE clients ENABLE ROW LEVEL SECURITY")
    with (
        pytest.raises(Unfit, match=r"hide rows of public\.clients"),
        role.engine.connect() as connection,
    ):
        active_clients(connection)
    acme.sql("ALTER TABLE clients DISABLE ROW LEVEL SECURITY")
    acme.sql("REVOKE SELECT ON clients FROM reconciler_engine")
    with (
        pytest.raises(Unfit, match=r"lacks privileges: SELECT ON public\.clients"),
        role.engine.connect() as connection,
    ):
        active_clients(connection)
    role.engine.dispose()


@pytest.mark.parametrize(
    ("revoked", "named"),
    [
        ("UPDATE ON leads", "UPDATE ON public.leads"),
        ("INSERT ON leads", "INSERT ON public.leads"),
        ("SELECT (id, email, first_name, last_name) ON users", "SELECT ON public.users"),
        ("DELETE ON reconciler.unsettled", "DELETE ON reconciler.unsettled"),
    ],
)
def test_a_privilege_that_was_revoked_is_named(acme: World, revoked: str, named: str) -> None:
    role = limited(acme)
    role.sync()
    acme.sql(f"REVOKE {revoked} FROM reconciler_engine")
    try:
        with pytest.raises(Unfit, match=f"reconciler_engine lacks privileges: {named}"):
            role.sync()
    finally:
        acme.sql(f"GRANT {revoked} TO reconciler_engine")
    role.sync()
    role.engine.dispose()


def test_a_view_in_the_place_of_the_table(acme: World) -> None:
    acme.sync()
    acme.sql("ALTER TABLE leads RENAME TO leads_base")
    acme.sql("CREATE VIEW leads AS SELECT * FROM leads_base")
    with pytest.raises(Unfit, match=r"public\.leads is a view; expected a table"):
        acme.sync()
    assert upgrade(acme.engine) == []
    acme.sql("DROP VIEW leads")
    with pytest.raises(Unfit, match=r"public\.leads is not there"):
        acme.sync()
