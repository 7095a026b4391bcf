"""`reconciler notify`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from reconciler_dagster.cli import main
from reconciler_dagster_tests.notices.conftest import REFUSED, Office


def told(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["notify", *arguments])
    return result.exit_code, result.output


def test_one_of_each_and_what_came_of_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_NOTIFY_SLACK_URL", f"{office.web.url}/slack")
    monkeypatch.setenv("RECONCILER_NOTIFY_SMTP_URL", office.box.url)
    monkeypatch.setenv("RECONCILER_NOTIFY_EMAIL_TO", "ops@example.com")
    monkeypatch.setenv("RECONCILER_NOTIFY_SLACK_QUIET", "00:00-23:59")
    code, output = told("test")
    assert (code, output.split()) == (
        0,
        ["slack", "taken:", "HTTP", "200", "told", "email", "taken:", "250", "taken"],
    )
    assert office.titles() == ["This is a test: nothing is wrong"]
    office.web.status = 404
    code, output = told("test", "--json")
    assert code == 1
    assert json.loads(output)["channels"][0] == {
        "channel": "slack",
        "taken": False,
        "answer": "HTTP 404 not now",
    }


def test_nobody_to_tell_is_a_setting_that_lacks() -> None:
    code, output = told("test")
    assert code == 2
    assert "RECONCILER_NOTIFY_SLACK_URL" in output


def test_the_list(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", office.url)
    assert told("list") == (0, "No notice yet: nothing was wrong.\n")
    (acme,) = office.clients("Acme")
    office.ran(acme, REFUSED)
    office.keeper().look()
    code, output = told("list")
    assert code == 0
    assert "Acme: Airtable refuses the token: AIRTABLE_API_KEY" in output
    assert "opened by email: 250 taken" in output
    (row,) = json.loads(told("list", "--json")[1])["notices"]
    assert (row["kind"], row["severity"], row["clients"]) == (
        "token_refused",
        "critical",
        ["Acme"],
    )
    assert len(row["told"]) == 4
