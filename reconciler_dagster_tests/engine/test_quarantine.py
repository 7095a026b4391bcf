"""Quarantine as people use it: the list, another try from the command line and from Dagster."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from reconciler_dagster.cli.group import main
from reconciler_dagster.core.scope import CHANGED
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.session import Session
from reconciler_dagster.orchestration.execute import reason_of
from reconciler_dagster.orchestration.quarantine import retry_quarantine
from reconciler_dagster_tests.world import World


@pytest.fixture
def held(acme: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A record with a cell that Airtable refuses, whose option is there by now."""
    monkeypatch.setenv("DATABASE_URL", acme.settings.require_database_url())
    monkeypatch.chdir(tmp_path)
    record_id = min(acme.sandbox.records())
    acme.update(record_id, hrq_status="Postponed")
    acme.sync()
    acme.sandbox.add_option("HRQ Status", "Postponed")
    acme.sync()
    assert acme.cell(record_id, "HRQ Status") != "Postponed"  # not due yet
    return record_id


def test_the_list_says_what_and_why(held: str) -> None:
    result = CliRunner().invoke(main, ["quarantine", "list", "--json"])
    assert result.exit_code == 1
    (cell,) = json.loads(result.stdout)["quarantine"]
    assert (cell["record_id"], cell["field"]) == (held, "hrq_status")
    assert "no option" in cell["reason"]
    plain = CliRunner().invoke(main, ["quarantine", "list"])
    assert "Postgres to Airtable" in plain.stdout
    assert "no option" in plain.stdout


def test_a_cell_waits_no_longer_than_until_the_option_is_seen(acme: World, held: str) -> None:
    """Not for its next attempt, which is a day away by then; nor in what a dry run foresees."""
    acme.sql("UPDATE reconciler.quarantine SET next_attempt_at = now() + interval '1 day'")
    acme.sync()
    assert acme.cell(held, "HRQ Status") != "Postponed", "the metadata is not read for it"
    acme.sql("UPDATE reconciler.table_binding SET read_at = now() - interval '2 minutes'")
    manual = Session(acme.settings, acme.engine, acme.client, acme.map, "by hand", "manual")
    assert manual.check_mapping().choices("hrq_status")
    dry = acme.session(dry_run=True)
    pull_airtable(dry, CHANGED)
    pull_postgres(dry)
    assert diff(dry).to_airtable == {"hrq_status": 1}
    acme.sync()
    assert acme.cell(held, "HRQ Status") == "Postponed"
    assert acme.sql("SELECT FROM reconciler.quarantine") == []


def test_a_retry_takes_the_current_value(acme: World, held: str) -> None:
    result = CliRunner().invoke(main, ["quarantine", "retry", "--record", held])
    assert "1 cell is tried again" in result.stdout
    acme.sync()
    assert acme.cell(held, "HRQ Status") == "Postponed"
    assert CliRunner().invoke(main, ["quarantine", "list"]).exit_code == 0


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ({"record_id": "recNone"}, "No cell of record recNone is in quarantine"),
        ({"field": "notes"}, "No cell of field notes is in quarantine"),
        ({"field": "nonsense"}, "'nonsense' is no field"),
        ({"client_id": "nobody"}, "'nobody' is no client id"),
    ],
)
def test_a_choice_that_matches_nothing_is_told(held: str, choice: dict[str, str], why: str) -> None:
    ((name, value),) = choice.items()
    option = f"--{name.removesuffix('_id')}"
    result = CliRunner().invoke(main, ["quarantine", "retry", "--json", option, value])
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    with dg.DagsterInstance.ephemeral() as instance:
        done = retry_quarantine.execute_in_process(
            run_config={"ops": {"make_due": {"config": choice}}},
            instance=instance,
            raise_on_error=False,
        )
        assert not done.success
        assert why in reason_of(done)


def test_a_retry_tells_one_json_object(held: str) -> None:
    result = CliRunner().invoke(main, ["quarantine", "retry", "--json", "--field", "hrq_status"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"retried": 1})


def test_the_job_does_the_same(acme: World, held: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert retry_quarantine.execute_in_process(instance=instance).success
    acme.sync()
    assert acme.cell(held, "HRQ Status") == "Postponed"


def test_an_unknown_client_is_one_sentence(held: str) -> None:
    result = CliRunner().invoke(main, ["quarantine", "list", "--client", "nobody"])
    assert result.exit_code == 2
    assert "'nobody' is no client id" in result.stderr
