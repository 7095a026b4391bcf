"""The engine under the role of migrations/least_privilege.sql."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import ProgrammingError

from reconciler_dagster.config import project_file
from reconciler_dagster.postgres.migrate import downgrade, upgrade
from reconciler_dagster_tests.crash.busy import end_state, make_busy
from reconciler_dagster_tests.windows import audited, inactive, next_hour, sweep
from reconciler_dagster_tests.world import World


def grant(acme: World) -> None:
    acme.sql(project_file("migrations/least_privilege.sql").read_text().replace(":", "\\:"))


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
