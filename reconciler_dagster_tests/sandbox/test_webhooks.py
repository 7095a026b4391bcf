"""Webhooks as a change feed: payloads, cursors, filters, expiry, pings (facts §10)."""

import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pyairtable import Table

from reconciler_dagster.sandbox.testing import SandboxClient

from .raw import call

DAY = 86_400


@pytest.fixture
def hooks(sandbox: SandboxClient) -> str:
    sandbox.freeze()
    return f"bases/{sandbox.base_id}/webhooks"


def _create(
    sandbox: SandboxClient,
    hooks: str,
    url: str | None = None,
    includes: dict[str, Any] | None = None,
    **filters: Any,
) -> dict[str, Any]:
    options = {"filters": {"dataTypes": ["tableData"], **filters}, "includes": includes or {}}
    body = {"notificationUrl": url, "specification": {"options": options}}
    answer = call(sandbox, "POST", hooks, body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _page(sandbox: SandboxClient, hooks: str, webhook: str, cursor: int = 1) -> dict[str, Any]:
    return dict(call(sandbox, "GET", f"{hooks}/{webhook}/payloads?cursor={cursor}").json())


def _changed(payload: dict[str, Any], table: Table) -> dict[str, Any]:
    return dict(payload["changedTablesById"][table.id])


def test_created_changed_destroyed(sandbox: SandboxClient, hooks: str, leads: Table) -> None:
    schema = {field.name: field for field in leads.schema().fields}
    webhook = _create(sandbox, hooks, includes={"includePreviousCellValues": True})["id"]
    record = leads.create({"Lead": "N", "HRQ Status": "Review"})
    leads.update(record["id"], {"Notes": "hi", "HRQ Status": None, "Prime Fit Bonus": True})
    leads.delete(record["id"])
    page = _page(sandbox, hooks, webhook)
    assert (page["cursor"], page["mightHaveMore"]) == (4, False)
    created, changed, destroyed = page["payloads"]
    assert created["payloadFormat"] == "v0"
    numbers = [payload["baseTransactionNumber"] for payload in page["payloads"]]
    assert numbers == sorted(set(numbers))
    assert created["actionMetadata"]["source"] == "publicApi"
    assert created["actionMetadata"]["sourceMetadata"]["user"]["permissionLevel"] == "create"

    new = _changed(created, leads)["createdRecordsById"][record["id"]]
    assert new["createdTime"] == record["createdTime"]
    review = new["cellValuesByFieldId"][schema["HRQ Status"].id]
    assert (review["name"], set(review)) == ("Review", {"id", "name", "color"})

    edit = _changed(changed, leads)["changedRecordsById"][record["id"]]
    assert edit["current"]["cellValuesByFieldId"] == {
        schema["Notes"].id: "hi",
        schema["HRQ Status"].id: None,
        schema["Prime Fit Bonus"].id: True,
        schema["ICP Score"].id: 10,
    }
    assert edit["previous"]["cellValuesByFieldId"][schema["HRQ Status"].id]["name"] == "Review"
    assert edit["previous"]["cellValuesByFieldId"][schema["ICP Score"].id] == 0
    assert "unchanged" not in edit
    assert _changed(destroyed, leads)["destroyedRecordIds"] == [record["id"]]


def test_a_batch_is_one_payload_or_one_a_record(
    sandbox: SandboxClient, hooks: str, leads: Table
) -> None:
    webhook = _create(sandbox, hooks)["id"]
    leads.batch_create([{"Lead": str(number)} for number in range(10)])
    (payload,) = _page(sandbox, hooks, webhook)["payloads"]
    assert len(_changed(payload, leads)["createdRecordsById"]) == 10
    sandbox.switch(webhook_split=True)
    leads.batch_create([{"Lead": str(number)} for number in range(10)])
    split = _page(sandbox, hooks, webhook, 2)["payloads"]
    assert len(split) == 10
    assert len({payload["baseTransactionNumber"] for payload in split}) == 1


def test_filters(sandbox: SandboxClient, hooks: str, leads: Table) -> None:
    schema = {field.name: field.id for field in leads.schema().fields}
    people = _create(sandbox, hooks, fromSources=["client"])["id"]
    notes = _create(
        sandbox,
        hooks,
        includes={"includeCellValuesInFieldIds": [schema["Lead"]]},
        watchDataInFieldIds=[schema["Notes"]],
    )["id"]
    removals = _create(sandbox, hooks, changeTypes=["remove"])["id"]
    campaigns = sandbox.on(table="Campaigns")
    elsewhere = _create(sandbox, hooks, recordChangeScope=_table_id(sandbox, "Campaigns"))["id"]
    record = leads.create({"Lead": "N"})["id"]
    leads.update(record, {"Email": "x@example.com"})
    leads.update(record, {"Notes": "hi"})
    sandbox.edit(record, {"Notes": "by hand"})
    leads.delete(record)
    campaigns.add({"Campaign Name": "New"})

    def payloads(webhook: str) -> list[dict[str, Any]]:
        return list(_page(sandbox, hooks, webhook)["payloads"])

    assert [one["actionMetadata"]["source"] for one in payloads(people)] == ["client", "client"]
    seen = [_changed(one, leads) for one in payloads(notes)]
    edits = [one["changedRecordsById"][record] for one in seen[:2]]
    assert [one["current"]["cellValuesByFieldId"] for one in edits] == [
        {schema["Notes"]: "hi"},
        {schema["Notes"]: "by hand"},
    ]
    assert edits[0]["unchanged"]["cellValuesByFieldId"] == {schema["Lead"]: "N"}
    assert seen[2] == {"destroyedRecordIds": [record]}
    assert [_changed(one, leads) for one in payloads(removals)] == [
        {"destroyedRecordIds": [record]}
    ]
    assert len(payloads(elsewhere)) == 1


def _table_id(sandbox: SandboxClient, name: str) -> str:
    tables = sandbox.status()["bases"][0]["tables"]
    return str(next(table["id"] for table in tables if table["name"] == name))


def test_computed_cells_of_linked_records(
    sandbox: SandboxClient, hooks: str, leads: Table, things: Table
) -> None:
    lead = leads.create({"Company": "Old"})["id"]
    thing = things.create({"Leads": [lead]})["id"]
    ids = {field.name: field.id for field in things.schema().fields}
    webhook = _create(sandbox, hooks)["id"]
    leads.update(lead, {"Company": "New", "Role Score Component": 7})
    (payload,) = _page(sandbox, hooks, webhook)["payloads"]
    cells = _changed(payload, things)["changedRecordsById"][thing]["current"]["cellValuesByFieldId"]
    assert cells == {
        ids["Companies"]: {"linkedRecordIds": [lead], "valuesByLinkedRecordId": {lead: ["New"]}},
        ids["Scores"]: 7,
    }


def test_schema_changes(sandbox: SandboxClient, hooks: str, leads: Table) -> None:
    webhook = _create(
        sandbox,
        hooks,
        dataTypes=["tableFields", "tableMetadata"],
        includes={"includePreviousFieldDefinitions": True},
    )["id"]
    notes = leads.schema().field("Notes").id
    sandbox.rename_field("Notes", "Remarks")
    made = sandbox.create_field("Extra", "number")
    sandbox.delete_field("Extra")
    orders = sandbox.create_table("Orders", [{"name": "N", "type": "singleLineText"}])
    sandbox.edit(next(iter(sandbox.records())), {"Remarks": "no data wanted"})
    renamed, created, deleted, table = _page(sandbox, hooks, webhook)["payloads"]
    assert _changed(renamed, leads)["changedFieldsById"][notes] == {
        "current": {"name": "Remarks", "type": "multilineText"},
        "previous": {"name": "Notes", "type": "multilineText"},
    }
    assert _changed(created, leads)["createdFieldsById"] == {
        made: {"name": "Extra", "type": "number"}
    }
    assert _changed(deleted, leads)["destroyedFieldIds"] == [made]
    assert list(table["createdTablesById"]) == [orders]


def test_cursor_pages_of_fifty_and_repeatable(
    sandbox: SandboxClient, hooks: str, leads: Table
) -> None:
    webhook = _create(sandbox, hooks)["id"]
    record = leads.all()[0]["id"]
    for number in range(60):
        sandbox.edit(record, {"Notes": str(number)})
    first = _page(sandbox, hooks, webhook)
    assert (len(first["payloads"]), first["cursor"], first["mightHaveMore"]) == (50, 51, True)
    assert _page(sandbox, hooks, webhook) == first
    rest = _page(sandbox, hooks, webhook, 51)
    assert (len(rest["payloads"]), rest["cursor"], rest["mightHaveMore"]) == (10, 61, False)
    assert _page(sandbox, hooks, webhook, 61)["payloads"] == []
    few = call(sandbox, "GET", f"{hooks}/{webhook}/payloads?limit=5").json()
    assert (len(few["payloads"]), few["cursor"]) == (5, 6)
    assert call(sandbox, "GET", f"{hooks}/{webhook}/payloads?limit=51").status_code == 422


def test_lag(sandbox: SandboxClient, hooks: str, leads: Table) -> None:
    webhook = _create(sandbox, hooks)["id"]
    sandbox.switch(webhook_lag_seconds=5)
    leads.create({"Lead": "late"})
    sandbox.advance(4)
    assert _page(sandbox, hooks, webhook) == {"payloads": [], "cursor": 1, "mightHaveMore": False}
    sandbox.advance(1)
    assert len(_page(sandbox, hooks, webhook)["payloads"]) == 1


def test_life_of_a_webhook(sandbox: SandboxClient, hooks: str, leads: Table) -> None:
    polled, forgotten = (_create(sandbox, hooks)["id"] for _ in range(2))
    leads.create({"Lead": "day 0"})
    for _ in range(3):
        sandbox.advance(3 * DAY)
        _page(sandbox, hooks, polled)
    listed = {one["id"]: one for one in call(sandbox, "GET", hooks).json()["webhooks"]}
    assert (listed[polled]["isHookEnabled"], listed[forgotten]["isHookEnabled"]) == (True, False)
    leads.create({"Lead": "day 9"})
    page = _page(sandbox, hooks, polled, 1)
    # The payload of day 0 is past its week; the numbers go on.
    assert (len(page["payloads"]), page["cursor"]) == (1, 3)
    assert _page(sandbox, hooks, forgotten)["payloads"] == []
    sandbox.switch(expired_cursor="error")
    assert call(sandbox, "GET", f"{hooks}/{polled}/payloads?cursor=1").status_code == 422
    sandbox.advance(6 * DAY)
    listed = {one["id"] for one in call(sandbox, "GET", hooks).json()["webhooks"]}
    assert listed == {polled}


def test_ten_a_base_and_bad_specifications(sandbox: SandboxClient, hooks: str) -> None:
    for bad in (
        {},
        {"specification": {"options": {"filters": {}}}},
        {"specification": {"options": {"filters": {"dataTypes": ["nonsense"]}}}},
        {
            "specification": {
                "options": {"filters": {"dataTypes": ["tableData"], "recordChangeScope": "tblX"}}
            }
        },
        {
            "notificationUrl": 5,
            "specification": {"options": {"filters": {"dataTypes": ["tableData"]}}},
        },
    ):
        assert call(sandbox, "POST", hooks, bad).status_code == 422
    for _ in range(10):
        _create(sandbox, hooks)
    body = {"specification": {"options": {"filters": {"dataTypes": ["tableData"]}}}}
    assert call(sandbox, "POST", hooks, body).status_code == 422


@pytest.fixture
def receiver() -> Iterator[tuple[str, "queue.Queue[tuple[bytes, str]]", list[int]]]:
    """A server that takes pings and answers with the statuses of a list, then 204."""
    got: queue.Queue[tuple[bytes, str]] = queue.Queue()
    statuses: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put((body, self.headers["X-Airtable-Content-MAC"]))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", got, statuses
    server.shutdown()
    server.server_close()


def test_pings_are_signed_and_retried(
    sandbox: SandboxClient,
    hooks: str,
    leads: Table,
    receiver: tuple[str, "queue.Queue[tuple[bytes, str]]", list[int]],
) -> None:
    url, got, statuses = receiver
    statuses += [500, 500]
    created = _create(sandbox, hooks, url=url)
    leads.create({"Lead": "ping"})
    body, signature = got.get(timeout=20)
    secret = base64.b64decode(created["macSecretBase64"])
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    assert signature == f"hmac-sha256={expected}"
    ping = json.loads(body)
    assert (ping["base"], ping["webhook"]) == ({"id": sandbox.base_id}, {"id": created["id"]})
    assert got.empty()
    _advance_when_failed(sandbox, hooks, 0, 10)
    got.get(timeout=20)
    _advance_when_failed(sandbox, hooks, 1, 20)
    got.get(timeout=20)
    result = _result(sandbox, hooks, 2)
    assert result["success"] is True


def _result(sandbox: SandboxClient, hooks: str, retry: int) -> dict[str, Any]:
    """Wait until the outcome of a try is known."""
    deadline = threading.Event()
    for _ in range(500):
        (webhook,) = call(sandbox, "GET", hooks).json()["webhooks"]
        result = webhook["lastNotificationResult"]
        if result is not None and result["retryNumber"] == retry:
            return dict(result)
        deadline.wait(0.02)
    raise AssertionError("no outcome")


def _advance_when_failed(sandbox: SandboxClient, hooks: str, retry: int, seconds: float) -> None:
    result = _result(sandbox, hooks, retry)
    assert (result["success"], result["willBeRetried"]) == (False, True)
    sandbox.advance(seconds)
