"""What a table's rows are called, whatever the table is called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler_dagster.portal.shown import Shown, in_order
from reconciler_dagster_tests.mapping import SYNC as LEADS


@pytest.mark.parametrize(
    ("airtable", "heading", "one", "many"),
    [
        ("Campaigns", "Campaigns", "1 campaign", "1,200 campaigns"),
        ("SMS_Templates", "SMS Templates", "1 SMS template", "1,200 SMS templates"),
        ("Project_Status", "Project Status", "1 project status row", "1,200 project status rows"),
        ("SMS_Audit", "SMS Audit", "1 SMS audit row", "1,200 SMS audit rows"),
        ("Companies", "Companies", "1 company", "1,200 companies"),
        ("Business", "Business", "1 business row", "1,200 business rows"),
        ("Deals  (old) ", "Deals (old)", "1 deals (old) row", "1,200 deals (old) rows"),
        ("tblAbcdefghijklmn", "Other", "1 other row", "1,200 other rows"),
    ],
)
def test_words(airtable: str, heading: str, one: str, many: str) -> None:
    shown = Shown(replace(LEADS, name="other", airtable=airtable), ("name",))
    assert (shown.heading, shown.rows(1), shown.rows(1200)) == (heading, one, many)


def test_leads_are_the_portals_own_and_come_first() -> None:
    leads = Shown(replace(LEADS, airtable="Kontakte"), ("first_name",))
    deals = Shown(replace(LEADS, name="deals", airtable="Deals"), ("name",))
    assert (leads.heading, leads.plural) == ("Leads", "leads")
    assert in_order({"deals": deals, "leads": leads}) == [leads, deals]
    assert deals.said("lead_source of 1 lead: it compares every lead, 2 leads") == (
        "lead_source of 1 deal: it compares every deal, 2 deals"
    )
