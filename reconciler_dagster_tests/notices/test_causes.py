"""Each cause made to happen for real in one world: the notice that came, and its end.

`WRITE_NOTICES=1 pytest …/notices/test_causes.py …/notices/test_deployment.py` writes the table of
docs/notices.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from reconciler_dagster.airtable.errors import AirtableError
from reconciler_dagster.core.month import USED_UP
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.watcher import look
from reconciler_dagster.orchestration import pacing
from reconciler_dagster.orchestration.execute import sync_clients
from reconciler_dagster.orchestration.great_sync import Choice, sync_windows
from reconciler_dagster.orchestration.ops import SyncConfig
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.postgres.retry import retry_chosen
from reconciler_dagster_tests.notices.receivers import (
    Endpoint,
    Mailbox,
    endpoint,
    mailbox,
    notice_settings,
)
from reconciler_dagster_tests.notices.table import note
from reconciler_dagster_tests.orchestration.conftest import Told, instance, point_at  # noqa: F401
from reconciler_dagster_tests.world import World, world


@dataclass
class Stage:
    """A world whose runs go through Dagster, and those who are told of it."""

    acme: World
    instance: dg.DagsterInstance
    web: Endpoint
    box: Mailbox
    patch: pytest.MonkeyPatch

    def run(self, times: int = 1) -> None:
        for _ in range(times):
            list(sync_clients(self.acme.settings, self.instance, None, SyncConfig()))

    def great_sync(self) -> None:
        list(sync_windows(self.acme.settings, self.instance, None, Choice(), Told()))

    def look(self, **more: Any) -> list[str]:
        """What is new in the mailbox."""
        before = len(self.box.mails)
        settings: NoticeSettings = notice_settings(self.web, self.box, **more)
        look(Keeper(self.acme.settings, settings))
        return [s.removeprefix("[Reconciler] ") for s in self.box.subjects[before:]]

    def records(self) -> list[str]:
        return sorted(self.acme.sandbox.records())


@pytest.fixture
def stage(
    portal_db: str,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,  # noqa: F811
) -> Iterator[Stage]:
    with world(portal_db, leads=120) as here, endpoint() as web, mailbox() as box:
        point_at(monkeypatch, portal_db, here.sandbox)
        monkeypatch.setenv("RECONCILER_RETRY_SECONDS", "0.01")
        monkeypatch.setenv("RECONCILER_LOCKOUT_SECONDS", "0.05")
        own = Stage(here, instance, web, box, monkeypatch)
        own.run()
        assert own.look() == []
        yield own
        here.engine.dispose()


Act = Callable[[Stage], Any]


def _wrong_token(stage: Stage) -> None:
    stage.patch.setenv("AIRTABLE_API_KEY", "patRevoked0000000.0123456789abcdef")
    stage.run()


def _right_token(stage: Stage) -> None:
    stage.patch.setenv("AIRTABLE_API_KEY", stage.acme.sandbox.token)
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


# Kind: what is done, settings of the look, what ends it.
CAUSES: dict[str, tuple[str, Act, dict[str, Any], Act]] = {
    "token_refused": ("the token is revoked", _wrong_token, {}, _right_token),
    "base_gone": (
        "the client's base is not there",
        _another_base,
        {},
        lambda stage: _another_base(stage, stage.acme.sandbox.base_id),
    ),
    "month_gone": ("the month's calls are used up", _spent, {}, _new_month),
    "runs_fail": ("Airtable answers 500 in two runs", _airtable_down, {}, _airtable_up),
    "field_stopped": ("a field is retyped", _retyped, {}, _retyped_back),
    "quarantine": (
        "a value that the portal cannot take, longer than is allowed",
        _unfit_value,
        {"quarantine_cells": 0},
        _fit_value,
    ),
    "sides_fight": ("an old cron writes a column back in three runs", _fought, {}, _looked_at),
    "deletions_wait": ("70 of 120 records are deleted", _many_deleted, {}, _restored),
    "changes_wait": ("the notes of all leads are emptied", _many_emptied, {}, _filled_again),
    "edits_unnoted": ("the trigger on leads is disabled", _no_trigger, {}, _migrated),
    "no_success": (
        "nothing has run for longer than is allowed",
        lambda stage: None,
        {"success_minutes": "0.00001"},
        lambda stage: None,
    ),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_the_cause_is_told_of_and_so_is_its_end(stage: Stage, kind: str) -> None:
    done, make, settings, mend = CAUSES[kind]
    make(stage)
    came = stage.look(**settings)
    title = KINDS[kind].happened
    assert came == [f"{title} (1 client)"]
    assert stage.look(**settings) == []
    mend(stage)
    over = stage.look()
    assert f"Over: {title} (1 client)" in over
    assert stage.look() == []
    note(kind, done, came[0], None, over[-1])


def test_the_month_is_told_of_before_it_runs_out(stage: Stage) -> None:
    stage.acme.settings.monthly_calls = 1
    came = stage.look()
    assert came == [KINDS["month_low"].happened]
    mail = str(stage.box.mails[-1].get_payload(decode=True), "utf-8")  # type: ignore[arg-type]
    assert "are spent" in mail
    stage.acme.settings.monthly_calls = 10**6
    over = stage.look()
    assert over == [f"Over: {KINDS['month_low'].happened}"]
    note("month_low", "four fifths of the month's calls are spent", came[0], None, over[0])


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
    error = AirtableError(429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED", "API billing plan limit …")
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
