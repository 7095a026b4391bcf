"""The owner's portal is adopted: nothing false is logged, deactivated or unforeseen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.rehearsal import Report
from reconciler_dagster.engine.first_contact import rehearse_client
from reconciler_dagster.postgres import guarded
from reconciler_dagster.postgres.migrate import downgrade
from reconciler_dagster_tests.mapping import LEADS, SYNC
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.owner.portal import (
    CAMPAIGN_PAGE,
    CRON,
    CRON_WITH_THE_TIME,
    PAUSE,
    VARIANTS,
    of_columns,
    owners_portal,
)
from reconciler_dagster_tests.test_cli_attention import call
from reconciler_dagster_tests.world import World

CHANGED = (
    'SELECT count(*) FROM leads l JOIN before b USING (id) WHERE l."{0}" IS DISTINCT FROM b."{0}"'
)
TRIGGER = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'sms_activity_logger'"


@pytest.fixture
def portal(empty_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with owners_portal(empty_db, "as it is") as here:
        point_at(monkeypatch, empty_db, here.sandbox)
        (tmp_path / "dagster").mkdir()
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
        monkeypatch.chdir(tmp_path)
        yield here


def rehearsed(here: World) -> Report:
    return rehearse_client([here.session(dry_run=True)])


def logged(here: World) -> int:
    return int(here.value("SELECT count(*) FROM lead_activity_log"))


def test_the_whole_way(portal: World) -> None:
    """Doctor, rehearsal, guard, first contact, a true event, and back."""
    before, page = of_columns(portal), portal.sql(CAMPAIGN_PAGE)
    trigger = portal.value(TRIGGER)
    doctor = call("doctor")
    assert "sms_activity_logger" in doctor.stdout.replace("\n", "")
    shown = call("adopt")
    assert shown.exit_code == 1, "some would be refused"
    assert "the portal's trigger sms_activity_logger would fire" in shown.stdout
    assert "rows inserted in public.lead_activity_log" in shown.stdout
    assert "coalesce" not in portal.value(TRIGGER).lower()
    assert (of_columns(portal), logged(portal)) == (before, 0)

    guarding = call("adopt", "--guard-trigger", "sms_activity_logger")
    assert "DROP TRIGGER" in guarding.stderr
    assert "rows inserted in public.lead_activity_log" not in guarding.stdout
    adopted = call("adopt", "--approve")
    assert "is adopted. Its first contact:" in adopted.stdout, adopted.stderr
    assert "were foreseen" not in adopted.stderr
    assert logged(portal) == 0, "what was long ago is no news"
    assert portal.sql("SELECT FROM reconciler.tombstone WHERE state = 'deleted'") == []
    assert portal.value("SELECT count(*) FROM leads WHERE NOT is_active") == 1
    report = portal.value("SELECT report FROM reconciler.rehearsal ORDER BY id DESC LIMIT 1")
    after = of_columns(portal)
    differing = {c for c in before if before[c] != after[c]}
    assert differing <= {*report["change_set"]["to_postgres"]}
    assert {"company", "title", "sms_sent_count"} <= differing
    counts = [(row[0], row[1], row[2]) for row in page]
    assert [(r[0], r[1], r[2]) for r in portal.sql(CAMPAIGN_PAGE)] == counts
    new = sorted(portal.sandbox.records())[0]
    created = portal.sandbox.record(new)["createdTime"]
    assert portal.value(
        "SELECT created_at = CAST(:at AS timestamptz) FROM leads WHERE airtable_record_id = :id",
        at=created,
        id=new,
    ), "created_at of a new lead is its record's"

    record_id = sorted(portal.sandbox.records())[30]
    count = portal.lead(record_id)["sms_sent_count"]
    portal.sandbox.edit(record_id, {"SMS Sent Count": count + 1})
    portal.sync()
    assert logged(portal) == 1, "a true event is told"

    down = call("migrate", "--down")
    assert down.exit_code == 1
    assert "--yes" in down.stderr
    assert call("migrate", "--down", "--yes").exit_code == 0
    assert portal.value(TRIGGER) == trigger


@pytest.mark.parametrize("variant", VARIANTS)
def test_report_and_run_agree_cell_by_cell(empty_db: str, variant: str) -> None:
    with owners_portal(empty_db, variant, leads=60) as here:
        told = rehearsed(here)
        leads = here.value("SELECT count(*) FROM leads")
        events = logged(here)
        here.sql("CREATE TABLE before AS TABLE leads")
        here.adopt()
        ran = here.sync()
        rows = here.sql("SELECT direction, field FROM reconciler.quarantine")
        for side in ("to_postgres", "to_airtable"):
            name = side.replace("to_", "refused_in_")
            assert told.change_set[name] == Counter(f for d, f in rows if d == side), side
        assert here.value("SELECT count(*) FROM leads") - leads == told.change_set["inserts"]
        written = Counter(
            tuple(row)
            for row in here.sql(
                "SELECT side, field FROM reconciler.history WHERE run_id = :r", r=ran.session.run_id
            )
        )
        plan = told.change_set
        assert written == {("postgres", c): n for c, n in plan["to_postgres"].items()} | {
            ("airtable", c): n for c, n in plan["to_airtable"].items()
        }
        rows_told = {(r["table"], r["kind"]): r["rows"] for r in told.rows}
        besides = {
            (f"public.leads.{column}", "changed"): n
            for column in of_columns(here)
            if (n := here.value(CHANGED.format(column)) - plan["to_postgres"].get(column, 0))
        }
        assert {k: n for k, n in rows_told.items() if k[1] == "changed"} == besides
        assert rows_told.get(("public.lead_activity_log", "inserted"), 0) == logged(here) - events
        remote, local, _ = here.sides()
        new = local.keys() - {row[0] for row in here.sql("SELECT airtable_record_id FROM before")}
        refused = {
            tuple(row) for row in here.sql("SELECT record_id, field FROM reconciler.quarantine")
        }
        assert {
            (r, c) for r in new for c in LEADS.columns if local[r].get(c) != remote[r].get(c)
        } <= refused, "a new lead is whole, but for what is told of it"
        assert plan["conflicts"] == Counter(
            row[0] for row in here.sql("SELECT field FROM reconciler.conflict")
        )


@pytest.mark.parametrize("cron", [CRON, CRON_WITH_THE_TIME], ids=["the same", "the time"])
def test_the_old_cron_beside_the_engine(portal: World, cron: str) -> None:
    """One red sentence, no growth of conflicts beyond the first runs, no lost edit of a person."""
    portal.adopt()
    portal.sync()
    there, here, both = sorted(portal.sandbox.records())[30:33]
    conflicts = []
    for number in range(10):
        portal.sql(cron)
        portal.update(here, notes=f"Called {number} times.")
        portal.sandbox.edit(there, {"Company": f"Company {number}"})
        portal.sandbox.edit(both, {"Job Title": f"Title {number}"})
        portal.sql(cron)
        portal.update(both, sms_stop_reason=f"because {number}")
        portal.sync()
        conflicts.append(portal.value("SELECT count(*) FROM reconciler.conflict"))
        assert portal.cell(here, "Notes").startswith(f"Called {number} times.")
        assert portal.lead(there)["company"] == f"Company {number}"
        assert portal.lead(both)["title"] == f"Title {number}"
        assert portal.cell(both, "SMS Stop Reason") == f"because {number}"
    assert conflicts[0] < conflicts[1]
    assert conflicts[1:] == [conflicts[1]] * 9
    done = call("run")
    assert done.exit_code == 1
    assert done.stderr.count("Another program writes what the engine then puts right") == 1
    assert "leads.status of" in done.stderr
    assert call("status").stderr.count("Another program") == 1


def test_a_word_for_all_campaigns_that_is_no_option_waits_in_one_line(portal: World) -> None:
    """Many cells, and one thing to do. The portal's own word, Paused, is written as Stopped."""
    portal.adopt()
    portal.sync()
    paused = portal.sql(PAUSE.replace("Paused", "On Holiday"))
    assert paused > 10
    portal.sync()
    told = [line for line in call("status").stderr.splitlines() if "'On Holiday'" in line]
    assert told == [
        f"Acme: {paused} leads wait for the option 'On Holiday' of Processing Status: add it in "
        "Airtable, or choose another value."
    ]
    listed = call("quarantine", "list").stdout.splitlines()
    assert sum("'On Holiday'" in line for line in listed) == 1


def test_whether_the_old_sync_is_still_writing(portal: World) -> None:
    portal.sql("UPDATE leads SET updated_at = now() - interval '1 day'")
    portal.sql("UPDATE leads SET hrq_status = 'Archive' WHERE hrq_status = 'Postponed'")
    portal.sql("UPDATE leads SET updated_at = now() - interval '1 day'")

    def found() -> dict[str, tuple[str, str]]:
        done = call("doctor", "--switch-over", "--json")
        return {c["check"]: (c["state"], c["detail"]) for c in json.loads(done.stdout)["checks"]}

    quiet = found()
    assert quiet["older sync"][0] == "ok"
    assert quiet["queue of the old sync"][0] == "skipped", "this portal has none"
    assert quiet["inactive"][1].startswith("1 leads are inactive")
    assert quiet["no Airtable option"][1].startswith("0 leads")
    portal.sql(CRON)
    assert found()["older sync"][0] == "warning"
    assert "stop the old cron" in found()["older sync"][1]


def test_a_guard_is_given_and_taken_back_exactly(portal: World) -> None:
    own = (
        "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; "
        "CREATE TRIGGER \"Odd 'one'\" BEFORE UPDATE OF notes ON leads FOR EACH ROW "
        "WHEN (NEW.notes LIKE '100%:x') EXECUTE FUNCTION own('EXECUTE FUNCTION (a)'); "
        "ALTER TABLE leads DISABLE TRIGGER \"Odd 'one'\"; "
        "CREATE TRIGGER always AFTER UPDATE ON leads FOR EACH STATEMENT EXECUTE FUNCTION own(); "
        "ALTER TABLE leads ENABLE ALWAYS TRIGGER always"
    )
    portal.sql(own.replace(":", "\\:"))
    look = (
        "SELECT tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger "
        "WHERE tgrelid = 'leads'::regclass AND NOT tgisinternal ORDER BY 1"
    )
    before = portal.sql(look)
    with portal.engine.begin() as connection:
        names = [trigger.name for trigger in guarded.portal_triggers(connection, SYNC.table)]
        assert names == ["Odd 'one'", "always", "sms_activity_logger"]
        for name in names:
            guarded.guard(connection, name, "ann", [SYNC.table])
            with pytest.raises(ConfigurationError, match="already"):
                guarded.guard(connection, name, "ann", [SYNC.table])
        with pytest.raises(ConfigurationError, match="has no trigger other"):
            guarded.guard(connection, "other", "ann", [SYNC.table])
        assert all(
            trigger.is_guarded for trigger in guarded.portal_triggers(connection, SYNC.table)
        )
    during = portal.sql(look)
    assert [row[2] for row in during] == [row[2] for row in before]
    assert sum("reconciler.writer" in row[1] for row in during) == 3
    downgrade(portal.engine)
    ours = ("zz_reconciler_note_edit", "zz_reconciler_note_truncate")
    assert portal.sql(look) == [row for row in before if row[0] not in ours]
