"""Recorded answers of Airtable and the error texts seen in the field (facts §4 and §18)."""

import json
import re
from typing import Any

import pytest
import requests

from reconciler_dagster.sandbox import DEMO_BASE_ID
from reconciler_dagster.sandbox.testing import SandboxClient

from .raw import call

LEADS = f"{DEMO_BASE_ID}/Leads"
ABSENT = "recAAAAAAAAAAAAAA"
NOT_ALLOWED = (
    '{"error":{"type":"INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND","message":"Invalid permissions, or '
    "the requested model was not found. Check that both your user and your token have the required "
    'permissions, and that the model names and/or ids are correct."}}'
)
BAD_PARAMETERS = (
    '{"error":{"type":"INVALID_REQUEST_UNKNOWN","message":"Invalid request: parameter validation '
    'failed. Check your request data."}}'
)
BAD_BATCH = (
    '{"error":{"type":"INVALID_RECORDS","message":"You must provide an array of up to 10 record '
    'objects, each with an \\"id\\" ID field and a \\"fields\\" object for cell values."}}'
)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("GET", "appShort/Leads", None, 404, '{"error":"NOT_FOUND"}'),
        ("GET", "nonsense", None, 404, '{"error":"NOT_FOUND"}'),
        ("GET", f"{LEADS}/notARecord", None, 404, '{"error":"NOT_FOUND"}'),
        ("GET", "appAAAAAAAAAAAAAA/Leads", None, 403, NOT_ALLOWED),
        ("GET", f"{DEMO_BASE_ID}/Nothing", None, 403, NOT_ALLOWED),
        ("GET", f"{LEADS}/{ABSENT}", None, 403, NOT_ALLOWED),
        ("GET", f"{LEADS}?pageSize=101", None, 422, BAD_PARAMETERS),
        ("GET", f"{LEADS}?pageSize=0", None, 422, BAD_PARAMETERS),
        (
            "PATCH",
            f"{LEADS}/{ABSENT}",
            {"fields": {}},
            404,
            '{"error":{"type":"MODEL_ID_NOT_FOUND","message":"Record not found"}}',
        ),
        (
            "DELETE",
            f"{LEADS}/{ABSENT}",
            None,
            404,
            '{"error":{"type":"MODEL_ID_NOT_FOUND","message":"Record not found"}}',
        ),
        (
            "PATCH",
            LEADS,
            {"records": [{"id": ABSENT, "fields": {}}]},
            422,
            f'{{"error":{{"type":"ROW_DOES_NOT_EXIST","message":"Record ID {ABSENT} does not exist '
            'in this table"}}',
        ),
        (
            "DELETE",
            f"{LEADS}?records[]={ABSENT}",
            None,
            422,
            f'{{"error":{{"type":"ROW_DOES_NOT_EXIST","message":"Record ID {ABSENT} does not exist '
            'in this table"}}',
        ),
        (
            "DELETE",
            f"{LEADS}?records={ABSENT}",
            None,
            422,
            '{"error":{"type":"INVALID_RECORDS","message":"\\"records\\" must be an array of up to '
            '10 record IDs."}}',
        ),
        ("PATCH", LEADS, {"records": [{"fields": {}}]}, 422, BAD_BATCH),
        ("POST", LEADS, {"records": [{"fields": {}}] * 11}, 422, BAD_BATCH),
        (
            "POST",
            LEADS,
            {"typecast": True},
            422,
            '{"error":{"type":"INVALID_REQUEST_MISSING_FIELDS","message":"Could not find field '
            '\\"fields\\" in the request body"}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"Nope": 1}},
            422,
            '{"error":{"type":"UNKNOWN_FIELD_NAME","message":"Unknown field name: \\"Nope\\""}}',
        ),
        (
            "GET",
            f"{LEADS}?fields[]=Nope",
            None,
            422,
            '{"error":{"type":"UNKNOWN_FIELD_NAME","message":"Unknown field name: \\"Nope\\""}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"Reply Count": "many"}},
            422,
            '{"error":{"type":"INVALID_VALUE_FOR_COLUMN","message":"Field \\"Reply Count\\" cannot '
            'accept the provided value"}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"Booked At": ""}},
            422,
            '{"error":{"type":"INVALID_VALUE_FOR_COLUMN","message":"Field \\"Booked At\\" cannot '
            'accept the provided value"}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"ICP Score": 3}},
            422,
            '{"error":{"type":"INVALID_VALUE_FOR_COLUMN","message":"Field \\"ICP Score\\" cannot '
            'accept a value because the field is computed"}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"Linked Campaign": ["x"]}},
            422,
            '{"error":{"type":"INVALID_VALUE_FOR_COLUMN","message":"Value is not an array of '
            'record IDs."}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"HRQ Status": "Completed"}},
            422,
            '{"error":{"type":"INVALID_MULTIPLE_CHOICE_OPTIONS","message":"Insufficient '
            'permissions to create new select option \\"\\"Completed\\"\\""}}',
        ),
        (
            "POST",
            LEADS,
            {"fields": {"HRQ Status": ""}},
            422,
            '{"error":{"type":"INVALID_MULTIPLE_CHOICE_OPTIONS","message":"Insufficient '
            'permissions to create new select option \\"\\"\\"\\""}}',
        ),
        (
            "GET",
            f"{LEADS}?filterByFormula=AND(",
            None,
            422,
            '{"error":{"type":"INVALID_FILTER_BY_FORMULA","message":"The formula for filtering '
            'records is invalid: Invalid formula. Please check your formula text."}}',
        ),
        (
            "GET",
            f"{LEADS}?filterByFormula=AND({{A b}}=1,{{b}}=2,{{a B}}=3,{{COMPANY}}='x')",
            None,
            422,
            '{"error":{"type":"INVALID_FILTER_BY_FORMULA","message":"The formula for filtering '
            'records is invalid: Unknown field names: a b, b"}}',
        ),
        (
            "GET",
            f"{LEADS}?offset=wrong",
            None,
            422,
            '{"error":{"type":"INVALID_OFFSET_VALUE","message":"The value of offset wrong is '
            'invalid"}}',
        ),
        (
            "GET",
            f"{LEADS}?offset=itrAAAAAAAAAAAAAA/{ABSENT}",
            None,
            422,
            '{"error":{"type":"LIST_RECORDS_ITERATOR_NOT_AVAILABLE"}}',
        ),
        (
            "GET",
            f"{LEADS}?view=Nope",
            None,
            422,
            '{"error":{"type":"VIEW_NAME_NOT_FOUND","message":"View Nope not found"}}',
        ),
        (
            "GET",
            f"{LEADS}?view=viwAAAAAAAAAAAAAA",
            None,
            422,
            '{"error":{"type":"VIEW_ID_NOT_FOUND","message":"View viwAAAAAAAAAAAAAA not found"}}',
        ),
    ],
)
def test_refusals(
    shared: SandboxClient, method: str, path: str, body: Any, status: int, answer: str
) -> None:
    response = call(shared, method, path, body)
    assert (response.status_code, response.text) == (status, answer)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


def test_without_a_token(shared: SandboxClient) -> None:
    expected = '{"error":{"type":"AUTHENTICATION_REQUIRED","message":"Authentication required"}}'
    for headers in ({}, {"Authorization": "Bearer patWrong"}, {"Authorization": "Basic x"}):
        response = requests.get(f"{shared.url}/v0/{LEADS}", headers=headers, timeout=30)
        assert (response.status_code, response.text) == (401, expected)


def test_body_that_is_no_json(shared: SandboxClient) -> None:
    response = call(shared, "POST", LEADS, data=b"{broken")
    assert (response.status_code, response.text) == (
        422,
        '{"error":{"type":"INVALID_REQUEST_BODY","message":"Could not parse request body"}}',
    )


@pytest.fixture
def empty(sandbox: SandboxClient) -> str:
    """The recorded table: `Empty`, with the fields of the recording, 218 numbers used up."""
    sandbox.create_table(
        "Empty",
        [
            {"name": "Name", "type": "singleLineText"},
            {"name": "f_singleLineText", "type": "singleLineText"},
            {"name": "f_number", "type": "number"},
            {"name": "f_autoNumber", "type": "autoNumber"},
        ],
    )
    table = sandbox.on(table="Empty")
    links = table.create_field(
        "f_links", "multipleRecordLinks", {"linkedTableId": _table_id(sandbox, "Leads")}
    )
    score = next(field["id"] for field in sandbox.fields() if field["name"] == "Reply Count")
    over = {"recordLinkFieldId": links, "fieldIdInLinkedTable": score}
    button = {"label": "Open URL", "formula": "'https://www.grouparoo.com'"}
    table.create_field("f_button", "button", button)
    table.create_field("f_createdBy", "createdBy")
    table.create_field("f_createdTime", "createdTime")
    table.create_field("f_formula", "formula", {"formula": "{Name} & {f_autoNumber}"})
    table.create_field("f_lastModifiedBy", "lastModifiedBy")
    table.create_field("f_lastModifiedTime", "lastModifiedTime")
    table.create_field("f_rollup", "rollup", {**over, "formula": "AVERAGE(values)"})
    table.create_field("f_count", "count", {"recordLinkFieldId": links})
    return f"{DEMO_BASE_ID}/Empty"


def _table_id(sandbox: SandboxClient, name: str) -> str:
    tables = sandbox.status()["bases"][0]["tables"]
    return str(next(table["id"] for table in tables if table["name"] == name))


def test_recorded_create_clear_and_failed_batch(sandbox: SandboxClient, empty: str) -> None:
    sandbox.freeze()
    user = {"id": "usrSandboxOwner01", "email": "owner@example.com", "name": "API user"}
    body = {"records": [{"fields": {"Name": "Jane", "f_singleLineText": "here"}}]}
    (created,) = call(sandbox, "POST", empty + "/", body).json()["records"]
    assert re.fullmatch(r"rec[A-Za-z0-9]{14}", created["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", created["createdTime"])
    time = created["createdTime"]
    assert created["fields"] == {
        "Name": "Jane",
        "f_autoNumber": 1,
        "f_singleLineText": "here",
        "f_button": {"label": "Open URL", "url": "https://www.grouparoo.com"},
        "f_createdBy": user,
        "f_createdTime": time,
        "f_formula": "Jane1",
        "f_lastModifiedBy": user,
        "f_lastModifiedTime": time,
        "f_rollup": {"specialValue": "NaN"},
        "f_count": 0,
    }

    sandbox.advance(7)
    clear = {"Name": "Jane", "f_singleLineText": None, "f_number": None}
    body = {"records": [{"id": created["id"], "fields": clear}]}
    (cleared,) = call(sandbox, "PATCH", empty + "/", body).json()["records"]
    assert cleared["fields"].keys() == created["fields"].keys() - {"f_singleLineText"}
    assert cleared["fields"]["f_lastModifiedTime"] > time
    assert cleared["fields"]["f_createdTime"] == time

    body = {
        "records": [
            {"fields": {"Name": "Jane"}},
            {"fields": {"Name": "Someone", "f_autoNumber": 40}},
        ]
    }
    failed = call(sandbox, "POST", empty, body)
    assert (failed.status_code, failed.text) == (
        422,
        '{"error":{"type":"INVALID_VALUE_FOR_COLUMN","message":"Field \\"f_autoNumber\\" cannot '
        'accept a value because the field is computed"}}',
    )
    after = call(sandbox, "POST", empty, {"fields": {"Name": "Next"}}).json()
    assert after["fields"]["f_autoNumber"] == 2

    gone = call(sandbox, "DELETE", f"{empty}?records[]={created['id']}&records[]={after['id']}")
    assert gone.text == json.dumps(
        {"records": [{"deleted": True, "id": one} for one in (created["id"], after["id"])]},
        separators=(",", ":"),
    )


def test_headers(sandbox: SandboxClient) -> None:
    sandbox.freeze()
    sandbox.advance(-86_400)
    response = call(sandbox, "GET", LEADS)
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", response.headers["Date"])
    # The page was compressed; requests has unpacked it.
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Airtable-Uncompressed-Content-Length"] == str(len(response.content))
    assert not [name for name in response.headers if "ratelimit" in name.lower()]


def test_a_browser_may_call(shared: SandboxClient) -> None:
    answer = requests.options(f"{shared.url}/v0/{LEADS}", timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_offset_has_the_real_form(shared: SandboxClient) -> None:
    page = call(shared, "GET", f"{LEADS}?pageSize=3").json()
    assert re.fullmatch(r"itr[A-Za-z0-9]{14}/rec[A-Za-z0-9]{14}", page["offset"])
    last = call(shared, "GET", f"{LEADS}?pageSize=100&offset=").json()
    assert "offset" not in last
    assert len(last["records"]) == 30


@pytest.mark.parametrize(
    "spelling",
    [
        "fields[]=Email&fields[]=Notes",
        "fields[0]=Email&fields[1]=Notes",
        "fields=Email&fields=Notes",
    ],
)
def test_spellings_of_lists(shared: SandboxClient, spelling: str) -> None:
    (record, *_) = call(shared, "GET", f"{LEADS}/?{spelling}").json()["records"]
    assert record["fields"].keys() <= {"Email", "Notes"}
    assert "Email" in record["fields"]
