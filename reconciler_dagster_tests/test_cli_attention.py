"""What the command line says while something needs a person, and how it ends then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler_dagster.cli.group import main
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.windows import inactive, states, sweep, waiting
from reconciler_dagster_tests.world import World, world

PROMISED = {"client_id", *asdict(Counts())}


@contextmanager
def at_hand(
    portal_db: str, monkeypatch: pytest.MonkeyPatch, folder: Path, leads: int
) -> Iterator[World]:
    """A world that was compared as a whole, for commands that find it through the environment."""
    with world(portal_db, leads=leads) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        home = folder / "dagster"
        home.mkdir()
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.chdir(folder)
        sweep(here)
        yield here


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with at_hand(portal_db, monkeypatch, tmp_path, 60) as here:
        yield here


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_status_of_a_client_that_is_well(acme: World) -> None:
    acme.sql("UPDATE reconciler.baseline SET verified_at = now() - interval '3 hours'")
    result = call("status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "the stalest lead was compared in full 3.0 hours ago" in result.stdout
    assert "0 were never compared" in result.stdout
    assert "empty in Airtable, kept in the portal: none" in result.stdout
    record_id = min(acme.sandbox.records())
    acme.sandbox.edit(record_id, {"Company": None})
    acme.sync()
    acme.sql(
        "UPDATE reconciler.baseline SET fields = fields - 'company' WHERE record_id = :id",
        id=record_id,
    )
    acme.update(record_id, company="Kept")
    acme.sync()
    assert "kept in the portal: company 1\n" in call("status").stdout
    acme.sql("UPDATE reconciler.baseline SET verified_at = NULL")
    assert "no lead was compared in full yet; 60 are still to be" in call("status").stdout


def quarantined(acme: World) -> None:
    acme.update(min(acme.sandbox.records()), hrq_status="Postponed")
    acme.sync()


def stopped(acme: World) -> None:
    acme.sandbox.delete_field("Job Title")
    acme.sql("UPDATE reconciler.table_binding SET read_at = now() - interval '2 days'")
    acme.sync()


def drifted(acme: World) -> None:
    acme.sql("UPDATE leads SET company = 'nobody noticed'")
    acme.sql("DELETE FROM reconciler.unsettled")


def failed(acme: World) -> None:
    acme.sql(
        "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, message) "
        "SELECT 'x', id, 'delta', 'changed', 'failed', 'Airtable was away.' FROM clients"
    )


@pytest.mark.parametrize(
    ("happen", "told"),
    [
        (quarantined, "Acme: 1 lead waits for the option 'Postponed' of HRQ Status: add it in"),
        (waiting, "Acme: 30 deletions wait for approval: see `reconciler deletions list`."),
        (stopped, "Acme: 'Job Title' is stopped"),
        (drifted, "Acme: company of 60 leads differs from what both sides last agreed on"),
        (failed, "Acme: The last run failed: Airtable was away."),
    ],
)
def test_status_ends_with_1_while_a_client_needs_a_person(
    acme: World, happen: Callable[[World], object], told: str
) -> None:
    happen(acme)
    result = call("status")
    assert result.exit_code == 1
    assert result.stderr.startswith(told)
    as_json = call("status", "--json")
    assert as_json.exit_code == 1
    (client,) = json.loads(as_json.stdout)["clients"]
    assert [f"Acme: {why}" for why in client["attention"]] == result.stderr.splitlines()
    acme.sql("UPDATE clients SET is_active = false")
    assert call("status").exit_code == 0, "nobody waits for an inactive client"


def test_deletions_that_wait_end_the_list_with_1(acme: World) -> None:
    result = call("deletions", "list")
    assert (result.exit_code, result.stdout) == (0, "No lead is missing from Airtable.\n")
    waiting(acme)
    assert call("deletions", "list").exit_code == 1
    assert call("deletions", "list", "--json").exit_code == 1
    acme.sql("UPDATE reconciler.tombstone SET state = 'rejected'")
    assert call("deletions", "list").exit_code == 0


def test_what_is_missing_so_far_says_what_it_waits_for(acme: World) -> None:
    waiting(acme)
    assert "missing so far" not in call("deletions", "list").stdout
    acme.sql("UPDATE reconciler.tombstone SET state = 'missing'")
    missing = acme.sql("SELECT count(*) FROM reconciler.tombstone")[0][0]
    told = f"{missing} records missing so far: nothing is done, and nobody asked, before a second"
    assert told in call("deletions", "list").stdout
    approved = call("deletions", "approve", "--all")
    assert "0 leads deleted; 0 deletions still waiting." in approved.stdout
    assert f"Acme: {told}" in approved.stdout


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_an_id_that_does_not_wait_is_told_before_anything_is_done(
    acme: World, decision: str
) -> None:
    gone = waiting(acme)
    there = min(acme.sandbox.records())
    result = call("deletions", decision, gone[0], "recTYPO", there)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: No deletion of recTYPO, {there} waits for a person: "
        "see `reconciler deletions list`.\n"
    )
    assert set(states(acme).values()) == {"awaiting_approval"}
    assert inactive(acme) == set()


def test_a_decision_says_what_it_did(acme: World) -> None:
    gone = waiting(acme)
    result = call("deletions", "approve", gone[0])
    assert result.exit_code == 1, "others still wait"
    assert result.stdout == "Acme: 1 lead deleted; 29 deletions still waiting.\n"
    result = call("deletions", "reject", gone[1])
    assert result.stdout == (
        "Acme: 1 deletion rejected; the lead stays; 28 deletions still waiting.\n"
    )
    acme.sandbox.restore(gone[2])
    result = call("deletions", "approve", gone[2], gone[3])
    assert result.stdout.startswith("Acme: 1 lead deleted of 2 approved (the others are back")
    result = call("deletions", "reject", "--all", "--json")
    assert result.exit_code == 0
    (client,) = json.loads(result.stdout)["clients"]
    assert (client["decided"], client["deletions_pending"]) == (26, 0)
    assert inactive(acme) == {gone[0], gone[3]}


@pytest.mark.parametrize("command", ["run", "audit", "status"])
def test_without_an_active_client_something_is_said(acme: World, command: str) -> None:
    acme.sql("UPDATE clients SET is_active = false")
    for arguments in ([command], [command, "--json"]):
        result = call(*arguments)
        assert result.exit_code == 0
        assert "No active client: add a row to public.clients (see README)." in result.stderr
    assert json.loads(result.stdout) == {"clients": []}


def test_a_dry_run_tells_its_change_set_as_json(acme: World) -> None:
    first, second = sorted(acme.sandbox.records())[:2]
    acme.sync()
    acme.sandbox.edit(first, {"Company": "Only looked at"})
    acme.update(second, hrq_status="Archive")
    (told,) = json.loads(call("run", "--dry-run", "--json").stdout)["clients"]
    assert set(told) == PROMISED | {"change_set"}
    assert told["local_writes"] == told["remote_writes"] == 0
    assert told["change_set"]["to_postgres"] == {"company": 1}
    assert told["change_set"]["to_airtable"] == {"hrq_status": 1}
    (done,) = json.loads(call("run", "--json").stdout)["clients"]
    assert set(done) == PROMISED
    assert (done["local_writes"], done["remote_writes"]) == (1, 1)


def test_a_delta_ends_with_1_while_deletions_wait(acme: World) -> None:
    waiting(acme)
    result = call("run")
    assert result.exit_code == 1
    assert "Acme: 30 deletions wait for approval:" in result.stderr


@pytest.mark.parametrize("command", ["run", "great-sync"])
def test_another_base_is_told_once_and_shown_for_a_while(acme: World, command: str) -> None:
    acme.sync()
    acme.sandbox.copy_base("appOther000000000")
    acme.sql("UPDATE clients SET airtable_base_id = 'appOther000000000'")
    dry = call(command, "--dry-run")
    assert (dry.exit_code, "base is another one" in dry.stderr) == (1, True)
    result = call(command)
    assert (result.exit_code, result.stderr.count("base is another one")) == (1, 1)
    again = call("run")
    assert (again.exit_code, again.stderr) == (0, "")
    shown = call("status")
    assert (shown.exit_code, "base is another one" in shown.stdout) == (0, True)
    (client,) = json.loads(call("status", "--json").stdout)["clients"]
    assert client["moved"].startswith("This client's base is another one")


def test_the_audit_tells_of_another_base_too(acme: World) -> None:
    acme.sync()
    acme.sandbox.copy_base("appOther000000000")
    acme.sql("UPDATE clients SET airtable_base_id = 'appOther000000000'")
    result = call("audit")
    assert (result.exit_code, "base is another one" in result.stderr) == (1, True)


def test_what_lost_is_shown_without_a_console(acme: World) -> None:
    assert call("conflicts").stdout == "0 conflicts.\n"
    first, second = sorted(acme.sandbox.records())[:2]
    for record_id in (first, second):
        acme.sandbox.edit(record_id, {"Company": "Airtable's"})
        acme.update(record_id, company="The portal's")
    acme.update(first, icp_score=1)
    acme.sync()
    told = call("conflicts", "--record", first)
    assert told.exit_code == 0, "a conflict is no trouble"
    said = told.stdout.splitlines()
    assert len(said) == 3
    assert any("icp_score: kept" in line and "(only Airtable may edit it)" in line for line in said)
    lost = f'{first}  company: kept "Airtable\'s", lost "The portal\'s" (both sides had edited it)'
    assert any(lost in line for line in said)
    assert said[-1] == "2 conflicts."
    some = json.loads(
        call("conflicts", "--client", acme.client.id, "--limit", "2", "--json").stdout
    )
    assert [one["client"] for one in some["conflicts"]] == ["Acme", "Acme"]
    assert {one["losing"] for one in some["conflicts"]} <= {"The portal's", 1}
    assert "The last 2; --limit shows more." in call("conflicts", "--limit", "2").stdout
    acme.sql("UPDATE reconciler.conflict SET restored_at = now(), restored_by = 'Ann'")
    assert "taken back by Ann" in call("conflicts").stdout
    assert call("conflicts", "--client", "11111111-1111-4111-8111-111111111111").exit_code == 2
