"""Drift: what a report shows to differ beyond what is known to be on its way. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def unexplained(report: Mapping[str, Any]) -> list[str]:
    """What differs and nothing accounts for, each with its remedy; empty where all is explained.

    ``report``: as ``postgres.report.drift_report`` gives it. A lead with unsettled edits, and one
    that is refused as a whole, may differ in every field; a cell in quarantine in its own alone.
    """
    leads = report["unsettled"] + report["quarantined_leads"]
    lines = []
    for column, count in report["differing_fields"].items():
        known = leads + report["quarantine_by_field"].get(column, 0)
        if count > known:
            lines.append(
                f"{column} of {_leads(count, known)} differs from what both sides last agreed on. "
                "Run `reconciler great-sync`: it compares every lead and repairs it."
            )
    if report["without_lead"] > leads:
        lines.append(
            f"Agreed on, but not in Postgres: {_leads(report['without_lead'], leads)}. Run "
            "`reconciler great-sync`: it brings them back."
        )
    if report["not_in_airtable"] > leads:
        lines.append(
            f"Active in Postgres, but never found in Airtable: "
            f"{_leads(report['not_in_airtable'], leads)}. The Great Sync and the audit look for "
            "the records; those that are gone appear in `reconciler deletions list`, where a "
            "person decides."
        )
    return lines


def _leads(count: int, known: int) -> str:
    number = "1 lead" if count == 1 else f"{count} leads"
    return f"{number} (at most {known} on their way or in quarantine)" if known else number
