"""Looks over a real Postgres, told to real receivers: once, also over restarts and refusals."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from reconciler_dagster.config import Settings
from reconciler_dagster.notices import store
from reconciler_dagster.notices.channels import Answer
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster_tests.deployment import eventually
from reconciler_dagster_tests.notices.conftest import REFUSED, Office
from reconciler_dagster_tests.notices.receivers import free_port, notice_settings, silent_server


def channels_told(office: Office) -> Counter[str]:
    rows = office.sql("SELECT channel FROM reconciler.notice_delivery WHERE delivered")
    return Counter(row.channel for row in rows)


def test_200_clients_with_one_dead_token_are_one_notice_and_so_is_their_recovery(
    office: Office,
) -> None:
    clients = office.clients(*(f"Client {n:03}" for n in range(200)))
    for client in clients:
        office.ran(client, REFUSED)
    keeper = office.keeper()
    keeper.look()
    assert office.titles() == ["Airtable refuses the token (200 clients)"]
    keeper.look()
    for n, client in enumerate(clients):
        office.ran(client)
        if n % 50 == 0:
            keeper.look()
    keeper.look()
    keeper.look()
    assert office.titles()[1:] == ["Over: Airtable refuses the token (200 clients)"]
    assert channels_told(office) == dict.fromkeys(["slack", "email", "webhook", "pagerduty"], 2)
    assert [each.json["event_action"] for each in office.web.of("/pagerduty")] == [
        "trigger",
        "resolve",
    ]


def test_a_restart_tells_nobody_twice(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    for _ in range(3):
        office.keeper().look()
    assert len(office.box.mails) == 1


def test_two_that_look_at_the_same_time_tell_it_once(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    with office.engine.begin() as connection:
        assert store.has_turn(connection)
        office.keeper().look()
        assert office.box.mails == []
    office.keeper().look()
    assert len(office.box.mails) == 1


def test_a_failed_delivery_is_tried_again_and_its_answer_kept(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    office.box.refuses = True
    office.web.status = 500
    office.keeper().look()
    office.keeper().look()  # the pause is not over
    kept = office.sql(
        "SELECT channel, attempts, ended_at, answer FROM reconciler.notice_delivery ORDER BY 1"
    )
    assert [tuple(row) for row in kept] == [
        ("email", 1, None, "451 the disk is full"),
        ("pagerduty", 1, None, "HTTP 500 not now"),
        ("slack", 1, None, "HTTP 500 not now"),
        ("webhook", 1, None, "HTTP 500 not now"),
    ]
    office.box.refuses, office.web.status = False, 200
    office.sql("UPDATE reconciler.notice_delivery SET due_at = clock_timestamp()")
    office.keeper().look()
    office.keeper().look()
    assert len(office.box.mails) == 1
    names = [each.json["delivery"] for each in office.web.of("/webhook")]
    assert len(names) == 2
    assert len(set(names)) == 1, "a receiver can tell that it has it already"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_process_that_dies_while_it_tells_has_it_tried_again(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    keeper = office.keeper()

    def die(*_: Any) -> Answer:
        raise SystemExit

    keeper.ways["slack"] = die
    keeper.look()
    office.sql("UPDATE reconciler.notice_delivery SET due_at = clock_timestamp()")
    office.keeper().look()
    assert channels_told(office) == dict.fromkeys(["slack", "email", "webhook", "pagerduty"], 1)


def test_what_is_over_before_it_could_be_told_is_told_as_over_alone(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    office.box.refuses = True
    office.keeper().look()
    office.ran(acme)
    office.box.refuses = False
    office.keeper().look()
    assert office.titles() == ["Over: Airtable refuses the token (1 client)"]
    answers = office.sql(
        "SELECT what, answer FROM reconciler.notice_delivery WHERE channel = 'email' ORDER BY id"
    )
    assert [tuple(row) for row in answers] == [
        ("opened", "overtaken"),
        ("recovered", "250 taken"),
    ]


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks do not wait for a channel, which is not given up while the test lasts."""
    monkeypatch.setattr("reconciler_dagster.notices.keeper.TELLING_SECONDS", 0.0)
    for name in ("CHANNEL_TIMEOUT", "LONGEST"):
        monkeypatch.setattr(f"reconciler_dagster.notices.channels.{name}", 120.0)


def test_a_channel_that_hangs_keeps_nobody_waiting(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server that accepts and never says a word; the others are told, and so is what comes
    while it still hangs.
    """
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    with silent_server() as port:
        patient(monkeypatch)
        keeper = office.keeper(smtp_url=f"smtp://127.0.0.1:{port}")
        keeper.look()
        eventually(lambda: len(office.web.posted) == 3)
        mail = "SELECT attempts, answer FROM reconciler.notice_delivery WHERE channel = 'email'"
        assert [tuple(row) for row in office.sql(mail)] == [(1, None)], "it still hangs"
        office.ran(acme)
        keeper.look()
        eventually(lambda: len(office.web.posted) == 6)
        assert [each.json["event_action"] for each in office.web.of("/pagerduty")] == [
            "trigger",
            "resolve",
        ]


def test_while_postgres_is_down_a_channel_that_hangs_keeps_nobody_waiting_either(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Settings(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/x")  # type: ignore[arg-type]
    with silent_server() as port:
        patient(monkeypatch)
        keeper = office.keeper(dead, smtp_url=f"smtp://127.0.0.1:{port}")
        keeper.look()
        eventually(lambda: len(office.web.posted) == 3)
        eventually(lambda: [each["channel"] for each in keeper.outage._waiting] == ["email"])
        assert keeper.lines._busy["email"].is_alive(), "it still hangs"


def test_quiet_hours_keep_what_is_no_emergency(office: Office) -> None:
    (acme,) = office.clients("Acme")
    for _ in range(2):
        office.ran(acme, "Airtable answered 503 RETRIABLE_ERROR")
    always = {"slack_quiet": "00:00-23:59", "email_quiet": "00:00-23:59"}
    keeper = office.keeper(**always, timezone="UTC", pagerduty_least="critical")
    keeper.look()
    assert channels_told(office) == {"webhook": 1}
    office.ran(acme, REFUSED)
    keeper.look()
    assert office.titles() == ["Airtable refuses the token (1 client)"]


def test_one_failure_may_be_an_accident_and_two_are_told(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, "Airtable answered 503 RETRIABLE_ERROR")
    office.keeper().look()
    assert office.box.mails == []
    office.ran(acme, "Airtable answered 503 RETRIABLE_ERROR")
    office.keeper().look()
    assert office.titles() == ["Runs fail (1 client)"]


def test_a_channel_that_is_set_no_more_is_not_waited_for(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    office.web.status = 500
    office.keeper().look()
    office.keeper(slack_url=None).look()
    assert [
        tuple(row)
        for row in office.sql(
            "SELECT answer, ended_at IS NOT NULL FROM reconciler.notice_delivery "
            "WHERE channel = 'slack'"
        )
    ] == [("the channel is not set any more", True)]


def test_what_postgres_cannot_keep_is_kept_in_a_file(office: Office) -> None:
    dead = Settings(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/x")  # type: ignore[arg-type]

    def look(settings: Settings) -> None:
        Keeper(settings, notice_settings(office.web, office.box)).look()

    look(dead)
    look(dead)  # after a restart
    assert office.titles() == ["The portal's Postgres cannot be used"]
    office.box.refuses = True
    look(office.settings())
    office.box.refuses = False
    assert len(office.box.mails) == 1
    keeper = Keeper(office.settings(), notice_settings(office.web, office.box))
    keeper.outage._waiting[0]["due"] = 0
    keeper.look()
    assert office.titles()[1:] == ["Over: The portal's Postgres cannot be used"]
    look(office.settings())
    assert len(office.box.mails) == 2


def test_the_page_has_what_was_told_whom_and_what_they_answered(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    office.keeper().look()
    with office.engine.connect() as connection:
        ((notice, deliveries),) = store.latest(connection)
        assert store.undelivered(connection) == 0
        assert connection.execute(text("SELECT count(*) FROM reconciler.notice")).scalar() == 1
    assert notice.kind == "token_refused"
    assert {(each["channel"], each["delivered"]) for each in deliveries} == {
        (name, True) for name in ("slack", "email", "webhook", "pagerduty")
    }
