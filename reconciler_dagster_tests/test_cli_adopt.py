"""`reconciler adopt`, `pause` and `resume`, and how every other command ends without consent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reconciler_dagster.orchestration.audit import every_hour
from reconciler_dagster.orchestration.automation import every_15_minutes, manual_sync
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.test_cli_attention import PROMISED, call
from reconciler_dagster_tests.world import World, world


@pytest.fixture
def new(portal_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """A portal with one lead of its base, which has 30, that differs; nobody has adopted it."""
    with world(portal_db, leads=30, adopted=False) as here:
        point_at(monkeypatch, portal_db, here.sandbox)
        (tmp_path / "dagster").mkdir()
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
        monkeypatch.chdir(tmp_path)
        here.sandbox.edit(met(here), {"Company": "Theirs", "HRQ Status": None})
        here.sql(
            "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
            "company, hrq_status) SELECT id, :id, 'A', '', '', 'Ours', 'Archive' FROM clients",
            id=met(here),
        )
        yield here


def met(here: World) -> str:
    return min(here.sandbox.records())


def both_sides(here: World) -> Any:
    return (
        here.sql("SELECT to_jsonb(l) FROM leads l ORDER BY id"),
        {key: record["fields"] for key, record in here.sandbox.records().items()},
    )


def one(stdout: str) -> dict[str, Any]:
    (client,) = json.loads(stdout)["clients"]
    return dict(client)


@pytest.mark.parametrize("command", ["run", "great-sync", "audit"])
@pytest.mark.parametrize("stands", ["new", "paused"])
def test_a_command_writes_nothing_without_consent_and_says_so(
    new: World, command: str, stands: str
) -> None:
    if stands == "paused":
        new.adopt()
        assert call("pause", "--client", new.client.id).exit_code == 0
    before = both_sides(new)
    done = call(command, "--json")
    assert done.exit_code == 1
    assert f"Acme: Acme is {stands}" in done.stderr
    assert one(done.stdout)["local_writes"] == one(done.stdout)["remote_writes"] == 0
    assert both_sides(new) == before
    assert not [c for c in new.sandbox.calls() if c["method"] == "PATCH"]


def test_nothing_of_a_new_client_is_launched(new: World) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        for schedule in (every_15_minutes, every_hour):
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=datetime(2026, 11, 24, 12, tzinfo=UTC)
            )
            (skipped,) = schedule(context)
            assert isinstance(skipped, dg.SkipReason)
            assert "Acme is new: nothing of it is written" in str(skipped.skip_message)
        new.sql("INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients")
        assert isinstance(manual_sync(dg.build_sensor_context(instance=instance)), dg.SkipReason)
    ((state, message),) = new.sql("SELECT state, message FROM reconciler.manual_sync_request")
    assert (state, message[:12]) == ("failed", "Acme is new:")


def test_a_rehearsal_shows_and_writes_nothing(new: World) -> None:
    before = both_sides(new)
    done = call("adopt", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    told = one(done.stdout)
    assert set(told) >= PROMISED | {"change_set"}
    assert (told["pulled"], told["local_writes"], told["adoption"]) == (30, 0, "new")
    assert told["airtable_calls"] >= 1
    assert told["change_set"]["inserts"] == 29
    assert told["change_set"]["conflicts"]["company"] == 1
    assert told["change_set"]["to_airtable"] == {"hrq_status": 1}
    (lost,) = [one for one in told["report"]["loses"] if one["field"] == "company"]
    assert (lost["stands"], lost["loses"]) == ("Theirs", "Ours")
    assert both_sides(new) == before
    shown = call("adopt")
    assert "29 leads would be inserted" in shown.stdout
    assert "'Theirs' wins, 'Ours' loses" in shown.stdout
    assert f"reconciler adopt --client {new.client.id} --approve" in shown.stdout


def test_what_was_shown_is_carried_out_and_compared(new: World) -> None:
    assert call("adopt").exit_code == 0
    done = call("adopt", "--approve", "--json")
    assert done.exit_code == 0, done.stderr
    told = one(done.stdout)
    assert (told["adoption"], told["local_writes"], told["remote_writes"]) == ("adopted", 30, 1)
    assert new.cell(met(new), "HRQ Status") == "Archive"
    assert new.lead(met(new))["company"] == "Theirs"
    approved, outcome = new.sql(
        "SELECT approved_by, outcome FROM reconciler.rehearsal ORDER BY id DESC LIMIT 1"
    )[0]
    assert approved
    assert outcome["counts"]["local_writes"] == 30
    again = call("adopt", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == {"clients": []}
    assert "every active client is adopted" in again.stderr
    assert call("run").exit_code == 0
    new.assert_quiet()


def test_where_the_world_has_moved_it_is_shown_again(new: World) -> None:
    assert call("adopt").exit_code == 0
    for number in range(11):
        new.sandbox.add({"First Name": f"N{number}"})
    before = both_sides(new)
    done = call("adopt", "--approve", "--json")
    assert done.exit_code == 1
    assert "leads to insert: 29 were shown, now it would be 40" in done.stderr
    assert (one(done.stdout)["adoption"], both_sides(new)) == ("new", before)
    assert call("adopt", "--approve").exit_code == 0, "now it has been shown"
    assert len(new.sql("SELECT FROM leads")) == 41


def test_what_nobody_has_seen_is_approved_of_only_where_it_does_no_harm(new: World) -> None:
    new.update(met(new), hrq_status="No such option")
    before = both_sides(new)
    done = call("adopt", "--approve", "--json")
    assert done.exit_code == 1
    assert "Nobody has seen what would be done, and it needs a look: 1 cells" in done.stderr
    assert "is 'No such option', which is no option of the Airtable field" in done.stderr
    assert one(done.stdout)["change_set"]["refused_in_airtable"] == {"hrq_status": 1}
    assert both_sides(new) == before
    then = call("adopt", "--approve")
    assert then.exit_code == 1, "what was foreseen is in quarantine now"
    assert "1 record in quarantine: see `reconciler quarantine list`." in then.stderr
    assert "were foreseen" not in then.stderr, "it was as the rehearsal had said"
    assert new.lead(met(new))["company"] == "Theirs"


def test_an_approval_covers_the_refusals_that_were_shown(new: World) -> None:
    """Which would else stop the run: more than 50, and more than 5 % of what is sent."""
    for number in range(60):
        new.sandbox.add({"First Name": f"N{number}"})
    new.sql(
        "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email, "
        "hrq_status) SELECT c.id, r, 'A', '', '', 'No such option' FROM clients c, "
        "unnest(CAST(:ids AS text[])) r ON CONFLICT (airtable_record_id) DO UPDATE "
        "SET hrq_status = excluded.hrq_status",
        ids=sorted(new.sandbox.records()),
    )
    new.sandbox.edit_many({r: {"HRQ Status": None} for r in new.sandbox.records()})
    assert call("adopt").exit_code == 1
    done = call("adopt", "--approve", "--json")
    assert one(done.stdout)["quarantined"] == 90
    assert one(done.stdout)["adoption"] == "adopted"


def test_a_run_of_which_much_would_be_refused_stops_before_the_first_call(new: World) -> None:
    for number in range(60):
        new.sandbox.add({"First Name": f"N{number}"})
    assert call("adopt", "--approve").exit_code == 0
    new.sql("UPDATE leads SET hrq_status = 'No such option'")
    dry = call("run", "--dry-run", "--json")
    assert dry.exit_code == 1
    assert one(dry.stdout)["change_set"]["refused_in_airtable"] == {"hrq_status": 90}
    patches = len([c for c in new.sandbox.calls() if c["method"] == "PATCH"])
    done = call("run")
    assert done.exit_code == 1
    assert "Of 90 cells for Airtable 90 would be refused" in done.stderr
    assert "allow_refusals" in done.stderr
    assert new.sql("SELECT FROM reconciler.quarantine") == []
    assert len([c for c in new.sandbox.calls() if c["method"] == "PATCH"]) == patches
    assert "90 records in quarantine: see" in call("run", "--allow-refusals").stderr
    assert "90 records in quarantine: see" in call("run").stderr, "and it goes on"


def test_a_client_is_paused_and_resumed(new: World) -> None:
    never = call("pause", "--client", new.client.id)
    assert (never.exit_code, "Acme is new" in never.stderr) == (2, True)
    new.adopt()
    assert call("run").exit_code == 0
    paused = call("pause", "--client", new.client.id, "--json")
    assert json.loads(paused.stdout) == {
        "client_id": new.client.id,
        "state": "paused",
        "changed": True,
    }
    assert call("adopt", "--client", new.client.id, "--approve").exit_code == 1
    assert call("run").exit_code == 1
    resumed = call("resume", "--client", new.client.id)
    assert (resumed.exit_code, resumed.stdout) == (0, "Acme goes on with the next run.\n")
    assert call("run").exit_code == 0


def test_a_base_that_cannot_be_read_is_told_and_wrong(new: World) -> None:
    new.sql("UPDATE clients SET airtable_base_id = 'appNone0000000000'")
    done = call("adopt", "--json")
    assert done.exit_code == 2
    assert "cannot be read with this token" in done.stderr
    assert new.sql("SELECT FROM reconciler.rehearsal") == []


def campaigns_of(here: World) -> Any:
    return (
        here.sql("SELECT to_jsonb(c) FROM campaigns c ORDER BY id"),
        here.sandbox.on(table="Campaigns").records(),
    )


def test_a_sync_that_an_adopted_client_gets_waits_for_a_persons_yes(
    new: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other syncs go on; nor is anything derived in its rows meanwhile."""
    assert "no lead to compare: nothing is agreed on yet" in call("status").stdout
    assert call("adopt").exit_code == 0
    assert call("adopt", "--approve").exit_code == 0
    monkeypatch.setenv("RECONCILER_SYNCS", "campaigns,leads")
    assert call("migrate").exit_code == 0
    new.sql(
        "INSERT INTO campaigns (client_id, airtable_record_id, name, total_leads) "
        "SELECT id, :id, 'Ours', 77 FROM clients",
        id=min(new.sandbox.on(table="Campaigns").records()),
    )
    before = campaigns_of(new)
    new.update(met(new), hrq_status="Review")
    for command in ("run", "great-sync", "audit"):
        done = call(command, "--json")
        assert done.exit_code == 1, command
        assert done.stderr.count("The sync campaigns of Acme is new: nothing of it") == 1, command
    assert new.cell(met(new), "HRQ Status") == "Review", "the other one goes on"
    assert campaigns_of(new) == before
    for command in ("status", "doctor"):
        done = call(command)
        assert "The sync campaigns of Acme is new" in done.stdout + done.stderr, command
    shown = call("adopt", "--json")
    told = one(shown.stdout)
    assert told["report"]["syncs"] == ["campaigns"]
    assert told["change_set"]["inserts"] == len(before[1]) - 1
    assert campaigns_of(new) == before
    assert call("adopt", "--approve", "--json").exit_code == 0
    assert campaigns_of(new) != before
    assert call("run").exit_code == 0
    told = call("status").stdout
    assert re.search(r"\b(stalest|no) campaign was compared", told), "by the table's own word"
    assert re.search(r"\b(stalest|no) lead was compared", told)
    assert "all of its syncs" in call("adopt").stderr
