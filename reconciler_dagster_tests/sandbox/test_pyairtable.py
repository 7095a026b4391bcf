"""pyairtable's public calls, unchanged but for the endpoint."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from pyairtable import Api, Table, orm
from pyairtable import formulas as F
from requests.adapters import HTTPAdapter

from reconciler_dagster.sandbox.testing import SandboxClient

DATA = {"filters": {"dataTypes": ["tableData"]}}


def test_identity_and_bases(api: Api, sandbox: SandboxClient) -> None:
    identity = api.whoami()
    assert identity["id"].startswith("usr")
    assert "data.records:write" in identity["scopes"]
    (base,) = api.bases()
    assert (base.id, base.name) == (sandbox.base_id, "Timber Coaching")


def test_schema_has_every_lead_field_with_real_options(api: Api, sandbox: SandboxClient) -> None:
    schema = api.base(sandbox.base_id).schema()
    leads = schema.table("Leads")
    assert len(leads.fields) == 108
    outcome = leads.field("Enrichment Outcome")
    names = [choice.name for choice in outcome.options.choices]
    assert names == ["Success", "No Match", "Error", " Success", " No Match"]
    assert all(re.fullmatch(r"sel\w{14}", choice.id) for choice in outcome.options.choices)
    score = leads.field("ICP Score")
    assert score.options.result.type == "number"
    assert "{fld" in score.options.formula
    assert score.options.referenced_field_ids
    assert leads.field("Record ID").options.result.type == "singleLineText"
    watching = leads.field("⚠️ Last Updated Auto").options.referenced_field_ids
    assert watching == [leads.field("Processing Status").id]
    linked = leads.field("Linked Campaign").options
    assert linked.linked_table_id == schema.table("Campaigns").id
    assert api.table(sandbox.base_id, leads.id).schema().name == "Leads"


def test_reading(leads: Table, sandbox: SandboxClient) -> None:
    records = leads.all()
    assert len(records) == 30
    assert [len(page) for page in leads.iterate(page_size=7)] == [7, 7, 7, 7, 2]
    assert len(leads.all(max_records=12, page_size=5)) == 12
    assert leads.first() == records[0]
    assert leads.get(records[3]["id"]) == records[3]
    narrow = leads.all(fields=["Email", "ICP Score"])
    assert {key for record in narrow for key in record["fields"]} == {"Email", "ICP Score"}
    by_id = leads.all(fields=["Email"], use_field_ids=True)
    assert {key[:3] for record in by_id for key in record["fields"]} == {"fld"}
    scores = [record["fields"]["ICP Score"] for record in leads.all(sort=["-ICP Score"])]
    assert scores == sorted(scores, reverse=True)
    assert leads.all(view="Grid view") == records
    assert leads.all(count_comments=True)[0]["commentCount"] == 0


def test_long_formula_goes_by_post(leads: Table, sandbox: SandboxClient) -> None:
    ids = [record["id"] for record in leads.all(max_records=3)]
    padding = [f"rec{number:014d}" for number in range(900)]
    formula = F.OR(*[F.EQ(F.RECORD_ID(), one) for one in ids + padding])
    sandbox.reset_calls()
    assert [record["id"] for record in leads.all(formula=formula)] == ids
    call = sandbox.calls()[0]
    assert (call["method"], call["path"][-12:]) == ("POST", "/listRecords")


def test_cells_as_text(leads: Table, sandbox: SandboxClient) -> None:
    record_id = leads.first()["id"]
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC).isoformat()
    leads.update(record_id, {"Webinar Datetime": moment, "SMS Cost": 0.5, "Booked": True})
    text = leads.get(record_id, cell_format="string", time_zone="UTC", user_locale="en")["fields"]
    assert text["Webinar Datetime"] == "2026-01-02 03:04"
    assert (text["SMS Cost"], text["Booked"]) == ("0.50", "checked")
    many = leads.all(cell_format="string", time_zone="UTC", user_locale="en")
    assert all(isinstance(cell, str) for record in many for cell in record["fields"].values())


def test_writing(leads: Table) -> None:
    created = leads.create({"Lead": "Zoe Zed", "Notes": "one"})
    assert created["fields"]["Record ID"] == created["id"]
    assert created["createdTime"].endswith(".000Z")
    updated = leads.update(created["id"], {"Notes": None, "SMS Stop": True})
    assert "Notes" not in updated["fields"]
    assert updated["fields"]["SMS Stop"] is True
    replaced = leads.update(created["id"], {"Lead": "Zoe"}, replace=True)
    assert "SMS Stop" not in replaced["fields"]
    assert leads.delete(created["id"]) == {"id": created["id"], "deleted": True}
    with pytest.raises(requests.HTTPError):
        leads.get(created["id"])


def test_writing_in_batches(leads: Table) -> None:
    made = leads.batch_create([{"Lead": f"Batch {number}"} for number in range(23)])
    assert [record["fields"]["Lead"] for record in made][-1] == "Batch 22"
    changed = leads.batch_update([{"id": one["id"], "fields": {"Notes": "n"}} for one in made])
    assert {record["fields"]["Notes"] for record in changed} == {"n"}
    upserted = leads.batch_upsert(
        [
            {"fields": {"Lead": "Batch 3", "Notes": "again"}},
            {"fields": {"Lead": "Batch 99"}},
            {"id": made[5]["id"], "fields": {"Notes": "by id"}},
        ],
        key_fields=["Lead"],
    )
    assert upserted["updatedRecords"] == [made[3]["id"], made[5]["id"]]
    assert len(upserted["createdRecords"]) == 1
    assert len(leads.batch_delete([record["id"] for record in made])) == 23
    assert len(leads.all(formula=F.match({"Lead": "Batch 99"}))) == 1


def test_typecast_makes_options(leads: Table, api: Api, sandbox: SandboxClient) -> None:
    record = leads.create({"Lead": "T", "Lead Source": "Podcast"}, typecast=True)
    assert record["fields"]["Lead Source"] == "Podcast"
    options = api.base(sandbox.base_id).schema().table("Leads").field("Lead Source").options
    assert options.choices[-1].name == "Podcast"


def test_comments(leads: Table) -> None:
    record_id = leads.first()["id"]
    first = leads.add_comment(record_id, "Hello")
    leads.add_comment(record_id, "Again")
    assert [comment.text for comment in leads.comments(record_id)] == ["Again", "Hello"]
    first.text = "Changed"
    first.save()
    assert leads.comments(record_id)[1].text == "Changed"
    assert leads.comments(record_id)[1].last_updated_time is not None
    first.delete()
    assert [comment.text for comment in leads.comments(record_id)] == ["Again"]
    assert leads.all(count_comments=True)[0]["commentCount"] == 1


def test_changing_the_schema(api: Api, sandbox: SandboxClient) -> None:
    base = api.base(sandbox.base_id)
    table = base.create_table(
        "Orders", [{"name": "Number", "type": "singleLineText"}], description="What they bought"
    )
    field = table.create_field(
        "State", "singleSelect", options={"choices": [{"name": "open"}, {"name": "paid"}]}
    )
    assert [choice.name for choice in field.options.choices] == ["open", "paid"]
    field.name = "Status"
    field.description = "of the order"
    field.save()
    schema = table.schema(force=True)
    schema.name = "Purchases"
    schema.save()
    again = base.schema(force=True).table("Purchases")
    assert (again.field("Status").description, again.description) == (
        "of the order",
        "What they bought",
    )
    assert table.create({"Number": "1", "Status": "paid"})["fields"]["Status"] == "paid"
    with pytest.raises(requests.HTTPError, match="UNSUPPORTED_FIELD_TYPE_FOR_CREATE"):
        table.create_field("Auto", "autoNumber")
    made = api.create_base(
        "wspSandbox0000001",
        "New",
        [{"name": "T", "fields": [{"name": "N", "type": "singleLineText"}]}],
    )
    assert made.table("T").create({"N": "x"})["fields"] == {"N": "x"}


class _ToSandbox(HTTPAdapter):
    """pyairtable sends uploads to content.airtable.com whatever the endpoint; this leads back."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, *args: Any, **settings: Any) -> requests.Response:
        request.url = re.sub(r"^https?://content\.airtable\.com", self._url, request.url)
        return super().send(request, *args, **settings)


def test_uploading_a_file(api: Api, sandbox: SandboxClient, things: Table) -> None:
    api.session.mount("http://content.airtable.com", _ToSandbox(sandbox.url))
    record_id = things.create({"Name": "file"})["id"]
    things.upload_attachment(record_id, "Files", "a.txt", b"hello", "text/plain")
    (stored,) = things.get(record_id)["fields"]["Files"]
    assert (stored["filename"], stored["size"], stored["type"]) == ("a.txt", 5, "text/plain")


def test_webhooks(api: Api, sandbox: SandboxClient, leads: Table) -> None:
    base = api.base(sandbox.base_id)
    created = base.add_webhook(None, {"options": DATA})  # type: ignore[arg-type]
    assert created.mac_secret_base64
    webhook = base.webhook(created.id)
    record = leads.create({"Lead": "Hooked"})
    assert len(list(webhook.payloads())) == 1
    for number in range(60):
        leads.update(record["id"], {"Notes": f"note {number}"})
    payloads = list(webhook.payloads(cursor=2))
    assert [payload.cursor for payload in payloads] == list(range(2, 62))
    table = payloads[-1].changed_tables_by_id[leads.id]
    notes = leads.schema().field("Notes").id
    changed = table.changed_records_by_id[record["id"]]
    assert changed.current.cell_values_by_field_id[notes] == "note 59"
    assert payloads[0].action_metadata is not None
    assert payloads[0].action_metadata.source == "publicApi"
    webhook.disable_notifications()
    webhook.enable_notifications()
    webhook.extend_expiration()
    assert [one.id for one in base.webhooks()] == [created.id]
    webhook.delete()
    assert base.webhooks() == []


def test_formulas_module(leads: Table, sandbox: SandboxClient) -> None:
    record = leads.create({"Lead": "It's {odd}", "SMS Sent Count": 5, "SMS Stop": True})
    moment = datetime.fromisoformat(record["createdTime"])
    for formula in (
        F.match({"Lead": "It's {odd}"}),
        F.match({"Lead": "It's {odd}", "SMS Stop": True}),
        F.match({"SMS Sent Count": (">", 4), "Lead": "It's {odd}"}),
        F.AND(F.Field("Lead").eq("It's {odd}"), F.Field("SMS Sent Count").gt(4)),
        F.AND(F.IS_SAME(F.CREATED_TIME(), moment, "second"), F.EQ(F.RECORD_ID(), record["id"])),
        F.AND(F.EQ(F.RECORD_ID(), record["id"]), F.NOT(F.Field("SMS Sent Count").lt(5))),
    ):
        assert [one["id"] for one in leads.all(formula=formula)] == [record["id"]]
    text = f"FIND('{record['createdTime'][:16]}', {{Record Created AT}}) > 0"
    assert record["id"] in [one["id"] for one in leads.all(formula=text)]


def test_orm(sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Api.__init__.__kwdefaults__, "endpoint_url", sandbox.url)

    class Campaign(orm.Model):
        name = orm.fields.TextField("Campaign Name")

        class Meta:
            api_key = sandbox.token
            base_id = sandbox.base_id
            table_name = "Campaigns"

    class Lead(orm.Model):
        name = orm.fields.TextField("Lead")
        stopped = orm.fields.CheckboxField("SMS Stop")
        booked_at = orm.fields.DatetimeField("Booked At")
        status = orm.fields.SelectField("SMS Status")
        score = orm.fields.NumberField("ICP Score", readonly=True)
        campaigns = orm.fields.LinkField("Linked Campaign", Campaign)
        created = orm.fields.CreatedTimeField("Record Created AT")

        class Meta:
            api_key = sandbox.token
            base_id = sandbox.base_id
            table_name = "Leads"

    campaign = Campaign.first()
    lead = Lead(name="ORM", stopped=True, booked_at=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))
    lead.status = "Replied"
    lead.campaigns = [campaign]
    assert lead.save().created
    again = Lead.from_id(lead.id)
    assert (again.name, again.stopped, again.status) == ("ORM", True, "Replied")
    assert again.booked_at == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert again.campaigns[0].name == campaign.name
    assert again.score == 0
    again.stopped = False
    again.save()
    lead.fetch()
    assert lead.stopped is False
    assert len(Lead.all(formula=F.match({"Lead": "ORM"}))) == 1
    Lead.batch_save([Lead(name="ORM 2"), lead])
    Lead.batch_delete(Lead.all(formula=F.FIND("ORM", F.Field("Lead"))))
    assert len(Lead.all()) == 30
