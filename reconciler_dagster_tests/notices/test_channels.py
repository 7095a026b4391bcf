"""The four ways, each to a real receiver."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import pytest

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.notices.channels import channels
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import Message
from reconciler_dagster_tests.notices.receivers import (
    Endpoint,
    Mailbox,
    endpoint,
    free_port,
    mailbox,
    notice_settings,
    silent_server,
)

SAID = Message(
    notice=7,
    kind="token_refused",
    what="opened",
    severity="critical",
    title="Airtable refuses the token (2 clients)",
    happened="Airtable refuses the token.",
    whom="Acme & <Söhne>, Beta",
    since="2026-11-26 12:00 UTC",
    todo="Make a new one.",
    link="https://portal.example/console",
    count=2,
)


@pytest.fixture
def web() -> Iterator[Endpoint]:
    with endpoint() as own:
        yield own


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as own:
        yield own


def test_each_gets_it_in_its_own_form(web: Endpoint, box: Mailbox) -> None:
    ways = channels(notice_settings(web, box))
    answers = {name: send(SAID, "41") for name, send in ways.items()}
    assert {name: answer.taken for name, answer in answers.items()} == dict.fromkeys(
        ["slack", "email", "webhook", "pagerduty"], True
    )
    assert answers["webhook"].words == "HTTP 200 told"

    (slack,) = web.of("/slack/T0000SLACKTOKEN")
    assert "*Airtable refuses the token (2 clients)*" in slack.json["text"]
    assert "Acme &amp; &lt;Söhne&gt;" in slack.json["text"]  # no mention, no link

    (mail,) = box.mails
    assert box.subjects == ["[Reconciler] Airtable refuses the token (2 clients)"]
    assert mail["Message-ID"] == "<reconciler-41@example.com>"
    assert mail["To"] == "ops@example.com, Night <night@example.com>"
    text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert text.replace("\r\n", "\n").strip() == SAID.text
    assert box.logins == [("robot", "pass word/1")]

    (pager,) = web.of("/pagerduty")
    assert (pager.json["event_action"], pager.json["dedup_key"]) == (
        "trigger",
        "reconciler-notice-7",
    )
    assert pager.json["payload"]["severity"] == "critical"


def test_the_webhook_is_signed_and_says_which_delivery_it_is(web: Endpoint) -> None:
    channels(notice_settings(web))["webhook"](SAID, "41")
    (posted,) = web.of("/webhook")
    signed = posted.headers["x-reconciler-timestamp"].encode() + b"." + posted.body
    expected = hmac.new(b"whsec-0123456789abcdef", signed, hashlib.sha256).hexdigest()
    assert posted.headers["x-reconciler-signature"] == f"sha256={expected}"
    assert posted.json == {"delivery": "41", **SAID.as_json()}


@pytest.mark.parametrize("channel", ["slack", "webhook", "pagerduty"])
def test_a_refusal_is_an_answer(web: Endpoint, channel: str) -> None:
    web.status = 503
    answer = channels(notice_settings(web))[channel](SAID, "41")  # type: ignore[index]
    assert (answer.taken, answer.words) == (False, "HTTP 503 not now")


def test_a_mail_server_that_refuses(web: Endpoint, box: Mailbox) -> None:
    box.refuses = True
    answer = channels(notice_settings(web, box))["email"](SAID, "41")
    assert (answer.taken, answer.words) == (False, "451 the disk is full")


def test_a_mail_server_that_does_not_know_the_password(
    web: Endpoint, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server lets go of whoever tries a second way without saying so.
    monkeypatch.setattr("reconciler_dagster.notices.channels.CHANNEL_TIMEOUT", 1.0)
    url = box.url.replace("pass%20word", "other")
    answer = channels(notice_settings(web, box, smtp_url=url))["email"](SAID, "41")
    assert not answer.taken
    assert "does not accept this user and password" in answer.words


@pytest.mark.parametrize("drips", [b"", b"x"])
def test_a_server_that_accepts_and_never_gets_to_the_point_is_given_up(
    monkeypatch: pytest.MonkeyPatch, drips: bytes
) -> None:
    """Also one that says a little now and then, so that no read takes long."""
    monkeypatch.setattr("reconciler_dagster.notices.channels.LONGEST", 1.0)
    with silent_server(drips) as port:
        settings = NoticeSettings(
            slack_url=f"http://127.0.0.1:{port}/T0000",
            smtp_url=f"smtp://127.0.0.1:{port}",
            email_to="ops@example.com",
        )
        for send in channels(settings).values():
            answer = send(SAID, "41")
            assert (answer.taken, answer.words) == (False, "no answer in time")


def test_nobody_there_is_an_answer_without_the_address() -> None:
    port = free_port()
    settings = NoticeSettings(
        slack_url=f"http://127.0.0.1:{port}/T0000SECRETPATH",
        smtp_url=f"smtp://127.0.0.1:{port}",
        email_to="ops@example.com",
    )
    for send in channels(settings).values():
        answer = send(SAID, "41")
        assert not answer.taken
        assert answer.words
        assert "SECRETPATH" not in answer.words


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("SLACK_URL", "hooks.slack.com/x", "expected https://host"),
        ("SLACK_LEAST", "loud", "info, warning or critical"),
        ("EMAIL_QUIET", "at night", "22:00-07:00"),
        ("EMAIL_TO", "ops", "e-mail addresses"),
        ("SMTP_URL", "mail.example.com", "smtp://user:password@host:587"),
        ("TIMEZONE", "Mars/Olympus", "time zone"),
        ("SUCCESS_MINUTES", "soon", "expected minutes"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(f"RECONCILER_NOTIFY_{variable}", value)
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        NoticeSettings.load()
    assert f"RECONCILER_NOTIFY_{variable} is not usable" in str(raised.value)


def test_a_channel_that_is_half_set_is_named() -> None:
    with pytest.raises(ConfigurationError, match="RECONCILER_NOTIFY_SMTP_URL is not set"):
        channels(NoticeSettings(email_to="ops@example.com"))


def test_a_client_may_have_minutes_of_its_own() -> None:
    settings = NoticeSettings(success_minutes="45, 0A=120")
    assert [settings.success_within(c).total_seconds() / 60 for c in ("0a", "0b")] == [120, 45]
