"""What every command says, and how it ends, while edits are not noted or rows are hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.trigger import EDIT_TRIGGER
from reconciler_dagster_tests.orchestration.conftest import checks
from reconciler_dagster_tests.test_cli_attention import at_hand, call
from reconciler_dagster_tests.world import World

DISABLED = f"the trigger {EDIT_TRIGGER} of public.leads is disabled. Run `reconciler migrate`"
HIDDEN = "Row level security may hide rows of public.clients from the database role narrow"


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with at_hand(portal_db, monkeypatch, tmp_path, 20) as here:
        here.sync()
        yield here


def latest(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    """What the check says last, which the UI shows."""
    return [e for e in checks(instance) if e.check_name == "mapping"][-1]


def test_a_trigger_that_is_disabled(acme: World) -> None:
    acme.sql(f"ALTER TABLE leads DISABLE TRIGGER {EDIT_TRIGGER}")
    edited = min(acme.sandbox.records())
    acme.update(edited, hrq_status="Archive")
    for command in ("run", "audit", "great-sync", "status"):
        result = call(command)
        assert (result.exit_code, DISABLED in result.stderr) == (1, True), command
        assert result.stderr.count(DISABLED) == 1, "each reason once"
    assert acme.cell(edited, "HRQ Status") == "Archive", "what could be carried over was"
    doctor = call("doctor", "--json")
    states = {c["check"]: (c["state"], c["detail"]) for c in json.loads(doctor.stdout)["checks"]}
    assert doctor.exit_code == 1
    assert states["edits are noted"][0] == "warning"
    assert DISABLED in states["edits are noted"][1]
    with dg.DagsterInstance.get() as instance:
        assert not latest(instance).passed
        assert DISABLED in str(latest(instance).metadata)
    migrated = call("migrate", "--json")
    assert migrated.exit_code == 0
    assert json.loads(migrated.stdout) == {
        "direction": "up",
        "changed": True,
        "mended": [
            f"Edits in Postgres are not noted: the trigger {EDIT_TRIGGER} of public.leads is "
            "disabled."
        ],
    }
    assert json.loads(call("migrate", "--json").stdout)["changed"] is False
    for command in ("status", "run", "doctor"):
        assert call(command).exit_code == 0, command
    with dg.DagsterInstance.get() as instance:
        assert latest(instance).passed


def test_trouble_of_the_trigger(acme: World) -> None:
    acme.sql("ALTER TABLE reconciler.unsettled RENAME TO elsewhere")
    acme.update(min(acme.sandbox.records()), hrq_status="Archive")
    acme.sql("ALTER TABLE reconciler.elsewhere RENAME TO unsettled")
    told = "A transaction that wrote to public.leads could not be noted"
    for command in ("status", "doctor", "run"):
        result = call(command)
        shown = " ".join((result.stdout + result.stderr).split())
        assert (result.exit_code, command == "doctor" or told in shown) == (1, True), command
    assert call("run").exit_code == 0
    assert call("status").exit_code == 0


@pytest.fixture
def narrow(acme: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A role with every right, from which row level security hides the clients."""
    acme.sql("CREATE ROLE narrow LOGIN")
    for schema in ("public", "reconciler"):
        acme.sql(f"GRANT USAGE ON SCHEMA {schema} TO narrow")
        acme.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO narrow")
        acme.sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO narrow")
    url = acme.settings.require_database_url().replace("://postgres@", "://narrow@")
    monkeypatch.setenv("DATABASE_URL", url)
    yield acme
    engine(url).dispose()
    for schema in ("public", "reconciler"):
        acme.sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM narrow")
    acme.sql("DROP OWNED BY narrow")
    acme.sql("DROP ROLE narrow")


def test_clients_that_are_hidden(narrow: World) -> None:
    assert call("run").exit_code == 0
    narrow.sql("ALTER TABLE clients ENABLE ROW LEVEL SECURITY")
    for command in ("run", "audit", "great-sync", "status"):
        result = call(command)
        assert (result.exit_code, HIDDEN in result.stderr) == (1, True), command
        assert "No active client" not in result.stderr
    doctor = call("doctor", "--json")
    assert doctor.exit_code == 2
    details = {c["check"]: c["detail"] for c in json.loads(doctor.stdout)["checks"]}
    assert HIDDEN in details["edits are noted"]
    assert HIDDEN in details["clients"]


def test_leads_that_are_hidden(narrow: World) -> None:
    narrow.sql("ALTER TABLE leads ENABLE ROW LEVEL SECURITY")
    for command in ("run", "audit", "great-sync", "status"):
        result = call(command)
        assert (result.exit_code, HIDDEN.replace("clients", "leads") in result.stderr) == (1, True)
    assert narrow.value("SELECT count(*) FROM leads WHERE is_active") == 20
    assert narrow.value("SELECT count(*) FROM reconciler.quarantine") == 0


def test_a_migration_by_a_role_that_may_not(narrow: World) -> None:
    narrow.sql(f"ALTER TABLE leads DISABLE TRIGGER {EDIT_TRIGGER}")
    result = call("migrate")
    assert result.exit_code == 2
    assert "as the owner of the portal's tables" in result.stderr


def test_leads_of_the_portal_s_own_are_told_as_what_they_are(acme: World) -> None:
    acme.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
        "SELECT id, 'manual-1', 'Own', '', '' FROM clients"
    )
    result = call("status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "  1 row of leads in Postgres without an Airtable record\n" in result.stdout
    assert call("run").exit_code == 0
