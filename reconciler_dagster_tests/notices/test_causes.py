"""Each cause made to happen for real in one world: the notice that came, and its end.

`WRITE_NOTICES=1 pytest reconciler_dagster_tests/notices` writes the table of docs/notices.md.
"""

from __future__ import annotations

import pytest
from sqlalchemy import text

from reconciler_dagster.airtable.errors import MonthlyLimitReached, said
from reconciler_dagster.airtable.owner import NEEDED_SCOPES
from reconciler_dagster.core.month import USED_UP
from reconciler_dagster.orchestration import pacing
from reconciler_dagster.postgres import retention
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.postgres.retry import retry_chosen
from reconciler_dagster_tests.notices.stage import Cause, Stage


def _wrong_token(stage: Stage) -> None:
    stage.patch.setenv("AIRTABLE_API_KEY", "patRevoked0000000.0123456789abcdef")
    stage.run()


def _right_token(stage: Stage) -> None:
    stage.patch.setenv("AIRTABLE_API_KEY", stage.acme.sandbox.token)
    stage.run()


def _no_writing(stage: Stage) -> None:
    scopes = [scope for scope in NEEDED_SCOPES if scope != "data.records:write"]
    stage.acme.sandbox.accept_tokens({stage.acme.sandbox.token: scopes})
    stage.acme.sql("UPDATE leads SET notes = 'Edited'")
    stage.run()


def _writing(stage: Stage) -> None:
    stage.acme.sandbox.accept_tokens({stage.acme.sandbox.token: NEEDED_SCOPES})
    stage.run()


def _another_base(stage: Stage, base_id: str = "appGone0000000000") -> None:
    stage.acme.sql("UPDATE clients SET airtable_base_id = :base", base=base_id)
    stage.run()


def _spent(stage: Stage) -> None:
    stage.acme.sandbox.switch(monthly_cap=0, monthly_cap_spares_meta=False)
    stage.run()


def _new_month(stage: Stage) -> None:
    stage.acme.sandbox.switch(monthly_cap=None)
    stage.run()


def _airtable_down(stage: Stage) -> None:
    stage.acme.sandbox.fault("status", status=500, times=1000)
    stage.run(times=2)


def _airtable_up(stage: Stage) -> None:
    stage.acme.sandbox.clear_faults()
    stage.run()


def _retyped(stage: Stage) -> None:
    stage.acme.sandbox.retype_field("Notes", "checkbox")
    stage.acme.sql("UPDATE reconciler.table_binding SET read_at = read_at - interval '2 days'")
    stage.run()


def _retyped_back(stage: Stage) -> None:
    stage.acme.sandbox.retype_field("Notes", "multilineText")
    stage.run()


def _unfit_value(stage: Stage) -> None:
    stage.acme.sandbox.edit(stage.records()[0], {"Claimed By": "nobody@elsewhere.example"})
    stage.run()


def _fit_value(stage: Stage) -> None:
    stage.acme.sandbox.edit(stage.records()[0], {"Claimed By": None})
    stage.run()


def _fought(stage: Stage) -> None:
    for _ in range(3):
        stage.acme.sql("UPDATE leads SET status = 'Cron'")
        stage.run()


def _looked_at(stage: Stage) -> None:
    with stage.acme.engine.begin() as connection:
        retry_chosen(connection, ["status"], None, None, "status")
    stage.run()


def _many_deleted(stage: Stage) -> None:
    for record_id in stage.records()[:70]:
        stage.acme.sandbox.delete(record_id)
    stage.great_sync()
    stage.great_sync()


def _restored(stage: Stage) -> None:
    stage.acme.sql("UPDATE reconciler.tombstone SET state = 'rejected', decided_by = 'Ann'")


def _many_emptied(stage: Stage) -> None:
    stage.acme.sql("UPDATE leads SET notes = 'x'")
    stage.run()
    stage.acme.sql("UPDATE leads SET notes = NULL")
    stage.run()


def _filled_again(stage: Stage) -> None:
    stage.acme.sql("UPDATE leads SET notes = 'x'")
    stage.run()


def _no_trigger(stage: Stage) -> None:
    stage.acme.sql("ALTER TABLE leads DISABLE TRIGGER zz_reconciler_note_edit")


def _migrated(stage: Stage) -> None:
    upgrade(stage.acme.engine)
    stage.run()


CAUSES: dict[str, Cause] = {
    "token_refused": Cause("the token is revoked", _wrong_token, _right_token),
    "scope_lost": Cause("the token loses data.records:write", _no_writing, _writing),
    "base_gone": Cause(
        "the client's base is not there",
        _another_base,
        lambda stage: _another_base(stage, stage.acme.sandbox.base_id),
    ),
    "month_gone": Cause("the month's calls are used up", _spent, _new_month),
    "runs_fail": Cause("Airtable answers 500 in two runs", _airtable_down, _airtable_up),
    "field_stopped": Cause("a field is retyped", _retyped, _retyped_back),
    "quarantine": Cause(
        "a value that the portal cannot take, longer than is allowed",
        _unfit_value,
        _fit_value,
        {"quarantine_cells": 0},
    ),
    "sides_fight": Cause("an older cron writes the same in three runs", _fought, _looked_at),
    "deletions_wait": Cause("70 of 120 records are deleted", _many_deleted, _restored),
    "changes_wait": Cause("the notes of all leads are emptied", _many_emptied, _filled_again),
    "edits_unnoted": Cause("the trigger on leads is disabled", _no_trigger, _migrated),
    "no_success": Cause(
        "nothing has run for longer than is allowed",
        lambda stage: None,
        lambda stage: None,
        {"success_minutes": "0.00001"},
    ),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_the_cause_is_told_of_and_so_is_its_end(stage: Stage, kind: str) -> None:
    stage.goes_through(kind, CAUSES[kind])


def test_a_workspace_without_calls_is_left_alone_until_the_month_turns(stage: Stage) -> None:
    clients = [stage.acme.client]
    with stage.acme.engine.connect() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert pacing.due(connection, stage.acme.settings, clients, now) == clients
    _spent(stage)
    with stage.acme.engine.connect() as connection:
        assert pacing.due(connection, stage.acme.settings, clients, now) == []
        later = now.replace(year=now.year + 1)
        assert pacing.due(connection, stage.acme.settings, clients, later) == clients
    audit = pacing.audit_settings(stage.acme.engine, stage.acme.settings, stage.acme.client.base_id)
    assert audit.audit_calls_per_hour == 0
    # A person may try at any time; when that goes well, all goes on.
    _new_month(stage)
    with stage.acme.engine.connect() as connection:
        assert pacing.due(connection, stage.acme.settings, clients, now) == clients


def test_our_sentence_of_the_month_begins_as_expected() -> None:
    answer = said(429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED", "API billing plan limit …")
    error = MonthlyLimitReached(*answer)
    assert str(error).startswith(USED_UP)


def test_the_outside_monitor_is_called_after_a_success_and_only_then(stage: Stage) -> None:
    url = f"{stage.web.url}/ping/{{client}}"
    path = f"/ping/{stage.acme.client.id}"
    stage.look(heartbeat_url=url)
    stage.look(heartbeat_url=url)
    assert len(stage.web.of(path)) == 1
    _wrong_token(stage)
    stage.look(heartbeat_url=url)
    assert len(stage.web.of(path)) == 1
    _right_token(stage)
    stage.web.status = 503
    stage.look(heartbeat_url=url)
    stage.web.status = 200
    stage.look(heartbeat_url=url)  # the monitor did not take it: called again
    stage.look(heartbeat_url=url)
    assert len(stage.web.of(path)) == 3


def test_where_no_listener_is_runs_drop_what_is_old_once_in_a_while(stage: Stage) -> None:
    old = (
        "INSERT INTO reconciler.conflict (run_id, client_id, lead_id, record_id, field, kind, "
        "happened_at) SELECT 'r', id, gen_random_uuid(), 'recA', 'notes', 'both_edited', "
        "now() - interval '9 years' FROM clients"
    )
    count = "SELECT count(*) FROM reconciler.conflict"
    stage.acme.sql(old)
    stage.acme.sql("UPDATE reconciler.pruned SET at = clock_timestamp()")
    retention._ASK_AT.clear()
    stage.run()
    assert stage.acme.value(count) == 1, "another run has just done so"
    stage.acme.sql("UPDATE reconciler.pruned SET at = at - interval '11 minutes'")
    retention._ASK_AT.clear()
    stage.run()
    assert stage.acme.value(count) == 0
