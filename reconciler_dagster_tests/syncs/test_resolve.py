"""What is in force for a base: the definition, its overrides, and what the settings choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.codecs import Choice, Text, Unchecked
from reconciler_dagster.core.fields import Policy
from reconciler_dagster.core.links import Link
from reconciler_dagster.core.lists import MultiSelect
from reconciler_dagster.syncs.in_force import definitions, leads, mapped_columns, maps
from reconciler_dagster.syncs.reading import SHIPPED, parse_definition, read_all
from reconciler_dagster.syncs.resolve import resolve

BASE, OTHER = "app12345678901234", "app00000000000000"
DEALS = """\
sync: deals
airtable: {table: Deals}
postgres: {table: crm.deals, key: number, record_id: airtable_id, client: null, active: null}
every: 1 hour
fields:
  name: {from: [Name, Title], length: 80}
  stage: {from: Stage, type: select, values: {Won: won, Lost: lost}}
  tags: {from: Tags, type: multi_select, edited: both, policy: hold}
  closed: {from: Open, type: checkbox, inverted: true}
  firm_id: {from: Firm, type: link, to: firms, optional: true}
clients:
  app12345678901234: {airtable: {table: Sales}, name: {from: Deal}, tags: null}
"""
FIRMS = """\
sync: firms
airtable: {table: Firms}
postgres: {table: crm.firms}
fields: {name: {from: Name}}
"""


def test_a_definition_becomes_a_map() -> None:
    deals = resolve(parse_definition(DEALS, "deals.yaml"))
    assert str(deals.table) == "crm.deals"
    assert (deals.table.key, deals.table.client, deals.table.active) == ("number", None, None)
    assert deals.fields["name"].sources == ("Name", "Title")
    assert deals.fields["name"].codec == Text(limit=80)
    assert isinstance(deals.fields["stage"].codec, Choice)
    assert isinstance(deals.fields["tags"].codec, MultiSelect)
    assert deals.fields["tags"].policy is Policy.HOLD
    assert isinstance(deals.fields["closed"].codec, Unchecked)
    assert deals.fields["firm_id"].codec == Link(to="firms")
    assert deals.every.total_seconds() == 3600


def test_one_base_s_override_changes_no_other() -> None:
    definition = parse_definition(DEALS, "deals.yaml")
    here, elsewhere = resolve(definition, BASE), resolve(definition, OTHER)
    assert (here.airtable, here.fields["name"].airtable) == ("Sales", "Deal")
    assert "tags" not in here.fields
    assert (elsewhere.airtable, elsewhere.fields["name"].airtable) == ("Deals", "Name")
    assert elsewhere.fields.columns == resolve(definition).fields.columns


def settings(folder: Path | None = None, syncs: str | None = None) -> Settings:
    return Settings(RECONCILER_SYNCS_FOLDER=str(folder) if folder else None, RECONCILER_SYNCS=syncs)


@pytest.fixture
def crm(tmp_path: Path) -> Path:
    (tmp_path / "deals.yaml").write_text(DEALS)
    (tmp_path / "firms.yaml").write_text(FIRMS)
    return tmp_path


def test_nothing_set_means_the_leads() -> None:
    assert list(maps(settings())) == ["leads"]
    assert str(leads(settings()).table) == "public.leads"


def test_a_folder_replaces_the_shipped_syncs_or_comes_before_them(crm: Path) -> None:
    assert list(maps(settings(crm))) == ["firms", "deals"], "parents first"
    assert list(maps(settings(crm, "leads, deals"))) == ["deals", "leads"]
    assert "firm_id" not in maps(settings(crm, "deals"))["deals"].fields, "firms do not run"
    assert maps(settings(crm))["deals"].linked.keys() == {"firms"}
    with pytest.raises(ConfigurationError, match="names nobody, which is not defined"):
        definitions(settings(crm, "nobody"))


def test_a_changed_file_is_in_force_at_once(crm: Path) -> None:
    before = maps(settings(crm))["deals"]
    (crm / "deals.yaml").write_text(DEALS.replace("  name:", "  note: {from: Note}\n  name:"))
    assert "note" not in before.fields
    assert "note" in maps(settings(crm))["deals"].fields
    assert "note" in mapped_columns(settings(crm))


def test_the_old_setting_names_the_leads_table_alone() -> None:
    own = Settings(airtable_leads_table="People")
    assert leads(own).airtable == "People"
    assert leads(settings()).airtable == "Leads"


@pytest.mark.parametrize("name", list(read_all()))
def test_every_shipped_definition_becomes_a_map(name: str) -> None:
    assert len(resolve(read_all()[name]).fields) > 0


# Of the field map as it was while it stood in the code. Another one would void what was agreed on.
FINGERPRINTS = {
    "first_name": "82f850ed9864b4c1",
    "last_name": "8700346ff3dddd2d",
    "email": "8700346ff3dddd2d",
    "phone": "c9cf09354c86955e",
    "company": "164e47d03df7aaaa",
    "title": "164e47d03df7aaaa",
    "icp_score": "badeb5d3b32abd25",
    "status": "b04ce36ab2eb123b",
    "processing_status": "f296363b3a02d3fa",
    "hrq_status": "f296363b3a02d3fa",
    "claimed_by": "c5214195c84ac2fd",
    "claimed_at": "0cfaaec982a4f27e",
    "notes": "243fef211236079f",
    "campaign_name": "164e47d03df7aaaa",
    "lead_source": "1c7ed850e929163f",
    "campaign_variant": "a3506bc0e231577d",
    "campaign_batch": "cc6dc14cfdd69bd1",
    "sms_sequence_position": "447d48d1d6057702",
    "sms_sent_count": "447d48d1d6057702",
    "click_count": "447d48d1d6057702",
    "sms_last_sent_at": "6915c003d25040b4",
    "booked_at": "6915c003d25040b4",
    "first_clicked_at": "6915c003d25040b4",
    "webinar_datetime": "6915c003d25040b4",
    "sms_eligible": "42f8b3f7d0820581",
    "sms_stop": "63169f42c4fac105",
    "sms_stop_reason": "0530cf05271f6e5e",
    "booked": "8f82cd7edf7d4626",
    "clicked_link": "8f82cd7edf7d4626",
    "short_link_id": "f6fef65f20cf36de",
    "short_link_url": "66a5fe93c1ee7f80",
    "linkedin_url": "66a5fe93c1ee7f80",
    "company_linkedin": "66a5fe93c1ee7f80",
    "enrichment_outcome": "f6fef65f20cf36de",
    "enrichment_attempted_at": "6915c003d25040b4",
    "form_id": "164e47d03df7aaaa",
    "kajabi_tags": "3deece7b85089e97",
    "engagement_level": "c3a4cf3f597bbfc8",
}


def test_what_was_agreed_on_under_the_old_map_still_counts() -> None:
    now = {field.column: field.fingerprint for field in leads(settings()).fields}
    assert {column: now.get(column) for column in FINGERPRINTS} == FINGERPRINTS


def test_a_copy_of_a_shipped_definition_alone_in_a_folder_is_good(tmp_path: Path) -> None:
    """What it says of other syncs is left out, as where it is chosen by name."""
    (tmp_path / "leads.yaml").write_text((SHIPPED / "leads.yaml").read_text())
    own = maps(Settings(RECONCILER_SYNCS_FOLDER=str(tmp_path)))
    assert own.keys() == {"leads"}
    assert own["leads"].fields.columns == maps(Settings())["leads"].fields.columns
