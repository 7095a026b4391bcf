"""Values that wait for an option of Airtable's are told once each, however many leads hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler_dagster_tests.test_cli_attention import at_hand, call
from reconciler_dagster_tests.world import World


@pytest.fixture
def acme(portal_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with at_hand(portal_db, monkeypatch, tmp_path, 40) as here:
        yield here


def test_one_line_for_each_value(acme: World) -> None:
    records = sorted(acme.sandbox.records())
    acme.sql("UPDATE leads SET hrq_status = 'Postponed'")
    acme.update(records[0], hrq_status="No such option")
    acme.update(records[1], hrq_status="Archive")
    acme.sync()
    acme.sandbox.edit(records[2], {"SMS Sent Count": 10**12})
    acme.sync()
    status = call("status")
    assert status.exit_code == 1
    waiting = [line for line in status.stderr.splitlines() if "option" in line]
    assert waiting == [
        "Acme: 38 leads wait for the option 'Postponed' of HRQ Status: add it in Airtable, or "
        "choose another value.",
        "Acme: 1 lead waits for the option 'No such option' of HRQ Status: add it in Airtable, or "
        "choose another value.",
    ]
    assert "Acme: 1 refusal in quarantine" in status.stderr
    listed = call("quarantine", "list").stdout
    assert len(listed.splitlines()) == 8, "two lines each, the count, and what to do"
    assert "and 37 leads more  hrq_status" in listed
    assert "40 cells in quarantine." in listed
    assert len(json.loads(call("quarantine", "list", "--json").stdout)["quarantine"]) == 40

    acme.sandbox.add_option("HRQ Status", "Postponed")
    call("quarantine", "retry", "--field", "hrq_status")
    acme.sync()
    assert "'Postponed'" not in call("status").stderr
    assert acme.cell(records[3], "HRQ Status") == "Postponed"


def test_of_very_many_values_the_rarest_are_one_line(acme: World) -> None:
    for number, record_id in enumerate(sorted(acme.sandbox.records())[:8]):
        acme.update(record_id, hrq_status=f"Value {min(number, 6)}")
    acme.sync()
    lines = [line for line in call("status").stderr.splitlines() if "option" in line]
    assert len(lines) == 6
    assert lines[0].startswith("Acme: 2 leads wait for the option 'Value 6'")
    assert lines[-1].startswith("Acme: 2 leads more with 2 other values that are no option")
