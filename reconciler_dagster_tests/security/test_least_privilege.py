"""The engine under the role of migrations/least_privilege.sql."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from reconciler_dagster.config import project_file
from reconciler_dagster.core.listed import ListedClient
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import downgrade, upgrade
from reconciler_dagster.syncs.reading import parse_definition
from reconciler_dagster.syncs.resolve import resolve
from reconciler_dagster_tests.crash.busy import end_state, make_busy
from reconciler_dagster_tests.owner.tables import tables
from reconciler_dagster_tests.windows import audited, inactive, next_hour, sweep
from reconciler_dagster_tests.world import World

FIRMS = """\
sync: firms
airtable: {table: Firms}
postgres: {table: My crm.firms, client: null, active: null, created_at: null, updated_at: null}
fields:
  name: {from: Name, edited: both}
"""
GRANTS = project_file("migrations/least_privilege.sql").read_text().replace(":", "\\:")


def grant(acme: World) -> None:
    acme.sql(GRANTS)


def limited(acme: World) -> World:
    grant(acme)
    return as_role(acme)


def as_role(acme: World) -> World:
    url = acme.settings.require_database_url()
    role = url.replace("://postgres@", "://reconciler_engine@")
    assert role != url
    return World(role, acme.sandbox)


def test_a_busy_run_needs_no_more(acme: World) -> None:
    make_busy(acme)
    engine = limited(acme)
    engine.settings.calls_per_second = 1000
    engine.sync()
    engine.sync()
    state = end_state(acme)
    assert (state["open"], state["unsettled"]) == (0, 0)
    assert {reason for *_, reason in state["held"]}
    assert len(acme.sql("SELECT FROM leads")) == len(acme.sandbox.records())
    engine.engine.dispose()


def test_a_great_sync_that_finds_a_deletion_and_an_audit_need_no_more(acme: World) -> None:
    engine = limited(acme)
    engine.settings.calls_per_second = 1000
    victim = min(acme.sandbox.records())
    acme.sandbox.delete(victim)
    sweep(engine)
    next_hour(acme)
    sweep(engine)
    assert inactive(acme) == {victim}
    audited(engine)
    engine.engine.dispose()


def test_what_a_later_migration_adds_is_granted_too(acme: World) -> None:
    """A role that was made at an earlier version needs no second grant."""
    downgrade(acme.engine, "0005")
    grant(acme)
    upgrade(acme.engine)
    engine = as_role(acme)
    engine.settings.calls_per_second = 1000
    acme.sql("ALTER TABLE leads DISABLE TRIGGER ALL")
    acme.update(min(acme.sandbox.records()), hrq_status="Archive")
    engine.sync()
    acme.sql("ALTER TABLE leads ENABLE TRIGGER ALL")
    acme.assert_converged()
    engine.engine.dispose()


def test_every_table_of_the_portal_needs_no_more(portal_db: str) -> None:
    """Those that are synced, and what is worked out and noted along with them."""
    with tables(portal_db) as portal:
        role = limited(portal.acme)
        role.settings.syncs = portal.acme.settings.syncs
        role.settings.calls_per_second = 1000
        portal.acme = role
        portal.sync()
        message = min(portal.on("SMS_Audit").records())
        portal.on("SMS_Audit").edit(message, {"Status": "Failed"})
        portal.sync()
        assert portal.quiet() == (7, 0, 0)
        assert portal.waiting() == []
        role.engine.dispose()


def test_where_there_is_no_portal_the_synced_tables_alone_are_granted(empty_db: str) -> None:
    """The page of a second domain, by that role; a key is of the type serial, schemas are odd."""
    own = engine(empty_db)
    with own.begin() as connection:
        connection.exec_driver_sql(
            'CREATE SCHEMA "My crm"; CREATE TABLE "My crm".firms (id serial PRIMARY KEY, '
            "airtable_record_id text UNIQUE, name text); "
            'CREATE TABLE "My crm".secrets (id int); DROP SCHEMA public CASCADE'
        )
    sync = resolve(parse_definition(FIRMS, "firms.yaml"))
    upgrade(own, syncs=[sync], listed=[ListedClient("Acme", "appAcme0000000001")])
    with own.begin() as connection:
        connection.execute(text(GRANTS))
    role = engine(empty_db.replace("://postgres@", "://reconciler_engine@"))
    with role.begin() as connection:
        connection.exec_driver_sql("INSERT INTO \"My crm\".firms (name) VALUES ('Acme')")
        assert connection.exec_driver_sql("SELECT count(*) FROM reconciler.clients()").scalar() == 1
    for statement in ('DELETE FROM "My crm".firms', 'SELECT FROM "My crm".secrets'):
        with pytest.raises(ProgrammingError, match="permission denied"), role.begin() as connection:
            connection.exec_driver_sql(statement)
    role.dispose()
    own.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM leads",
        "TRUNCATE leads",
        "DROP TABLE leads",
        "ALTER TABLE leads DISABLE TRIGGER ALL",
        "UPDATE clients SET airtable_base_id = 'appOther000000000'",
        "SELECT role FROM users",
        "INSERT INTO users (email) VALUES ('x@y.example')",
        "SELECT FROM lead_activity_log",
        "SELECT FROM campaigns",
        "DROP TABLE reconciler.journal",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE reconciler.mine (id int)",
    ],
)
def test_the_role_can_do_nothing_else(acme: World, statement: str) -> None:
    engine = limited(acme)
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        engine.sql(statement)
    engine.engine.dispose()
