"""What a report shows to differ, and what accounts for it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler_dagster.core.drift import unexplained

QUIET: dict[str, Any] = {
    "differing_fields": {},
    "quarantine_by_field": {},
    "quarantined_leads": 0,
    "unsettled": 0,
    "without_lead": 0,
    "not_in_airtable": 0,
}


def test_nothing_differs() -> None:
    assert unexplained(QUIET) == []


def test_the_quarantine_of_one_field_does_not_hide_another() -> None:
    report = QUIET | {
        "differing_fields": {"notes": 50, "company": 50},
        "quarantine_by_field": {"notes": 50},
    }
    (line,) = unexplained(report)
    assert line.startswith("company of 50 leads")
    assert "`reconciler great-sync`" in line


@pytest.mark.parametrize("known", ["unsettled", "quarantined_leads"])
def test_a_whole_lead_may_differ_in_every_way(known: str) -> None:
    differs = {"differing_fields": {"notes": 2}, "without_lead": 2, "not_in_airtable": 2}
    assert unexplained(QUIET | differs | {known: 2}) == []
    lines = unexplained(QUIET | differs | {known: 1})
    assert len(lines) == 3
    assert all("2 leads (at most 1 on their way or in quarantine)" in line for line in lines)


def test_the_remedy_fits_what_differs() -> None:
    (without_lead,) = unexplained(QUIET | {"without_lead": 1})
    assert "not in Postgres: 1 lead. Run `reconciler great-sync`" in without_lead
    (unmet,) = unexplained(QUIET | {"not_in_airtable": 1})
    assert "`reconciler great-sync`" not in unmet, "it cannot mend what does not exist"
    assert "`reconciler deletions list`" in unmet
