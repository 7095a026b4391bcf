"""Fuzzing over the whole HTTP surface: never a 500, never a trace, whatever is sent."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st

from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

from .conftest import NO_LIMITS, add_everything

EXAMPLES = int(os.environ.get("SANDBOX_FUZZ_EXAMPLES", "25"))
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)

_JSON = {"description": "Anything", "content": {"application/json": {"schema": {}}}}
_CELLS = {
    "type": "object",
    "properties": {
        "Name": {},
        "Rich": {},
        "Number": {},
        "Rating": {},
        "Checkbox": {},
        "Date": {},
        "Local": {},
        "Moment": {},
        "Select": {},
        "Selects": {},
        "Who": {},
        "Team": {},
        "Files": {"anyOf": [{}, {"type": "array", "items": {"type": "object"}}]},
        "Code": {},
        "Leads": {"anyOf": [{}, {"type": "array", "items": {"type": "string"}}]},
    },
    "additionalProperties": False,
}
_RECORD = {
    "type": "object",
    "properties": {"id": {}, "fields": {"anyOf": [_CELLS, {}]}},
    "required": ["fields"],
}
_WRITE = {
    "type": "object",
    "properties": {
        "fields": _CELLS,
        "records": {"anyOf": [{"type": "array", "items": _RECORD, "maxItems": 10}, {}]},
        "typecast": {},
        "returnFieldsByFieldId": {},
        "performUpsert": {
            "anyOf": [
                {},
                {
                    "type": "object",
                    "properties": {
                        "fieldsToMergeOn": {
                            "type": "array",
                            "items": {"enum": ["Name", "Number", "Select", "Selects", "Date"]},
                        }
                    },
                },
            ]
        },
    },
}
_LIST = {
    "type": "object",
    "properties": {
        "pageSize": {},
        "maxRecords": {},
        "offset": {},
        "view": {},
        "sort": {},
        "fields": {},
        "filterByFormula": {},
        "cellFormat": {},
        "timeZone": {},
        "userLocale": {},
        "recordMetadata": {},
        "returnFieldsByFieldId": {},
    },
}
_FIELD = {
    "type": "object",
    "properties": {
        "name": {},
        "type": {"enum": ["singleSelect", "number", "multipleRecordLinks", "dateTime", "x", 5]},
        "options": {
            "anyOf": [
                {},
                {
                    "type": "object",
                    "properties": {
                        name: {}
                        for name in ("precision", "timeZone", "dateFormat", "choices", "max")
                    },
                },
            ]
        },
        "description": {},
    },
}
_TABLE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "description": {},
        "fields": {"anyOf": [{"type": "array", "items": _FIELD}, {}]},
    },
}
_HOOK = {
    "type": "object",
    "properties": {
        "notificationUrl": {"enum": [None, 5, "nowhere"]},
        "specification": {
            "anyOf": [
                {},
                {
                    "type": "object",
                    "properties": {
                        "options": {
                            "type": "object",
                            "properties": {
                                "filters": {
                                    "type": "object",
                                    "properties": {
                                        "dataTypes": {"enum": [["tableData"], ["tableFields"], 5]},
                                        "recordChangeScope": {},
                                        "changeTypes": {},
                                        "fromSources": {},
                                        "watchDataInFieldIds": {},
                                    },
                                },
                                "includes": {},
                            },
                        }
                    },
                },
            ]
        },
    },
}
_FILE = {
    "type": "object",
    "properties": {"contentType": {}, "filename": {}, "file": {"enum": ["aGk=", "?", 5]}},
}


def _operation(path: str, body: Any = None, query: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    operation: dict[str, Any] = {"parameters": parameters, "responses": {"default": _JSON}}
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _document(record: str, webhook: str) -> dict[str, Any]:
    """The Airtable API as OpenAPI, with ids of things that are there."""
    base, table = "/v0/appReconcileDemo1", "/v0/appReconcileDemo1/Everything"
    meta = "/v0/meta/bases"
    hooks = "/v0/bases/appReconcileDemo1/webhooks"
    comments = f"{table}/{record}/comments"
    listing = (*_LIST["properties"], "fields[]", "sort[0][field]", "sort[0][direction]")
    surface: list[tuple[str, str, Any, tuple[str, ...]]] = [
        ("get", "/v0/meta/whoami", None, ()),
        ("get", meta, None, ("offset",)),
        (
            "post",
            meta,
            {"type": "object", "properties": {"name": {}, "workspaceId": {}, "tables": {}}},
            (),
        ),
        ("get", f"{meta}/appReconcileDemo1", None, ("include",)),
        ("get", f"{meta}/{{base}}/tables", None, ("include",)),
        ("get", f"{meta}/appReconcileDemo1/tables", None, ("include",)),
        ("post", f"{meta}/appReconcileDemo1/tables", _TABLE, ()),
        (
            "patch",
            f"{meta}/appReconcileDemo1/tables/Everything",
            {"type": "object", "properties": {"description": {}}},
            (),
        ),
        ("post", f"{meta}/appReconcileDemo1/tables/Everything/fields", _FIELD, ()),
        ("patch", f"{meta}/appReconcileDemo1/tables/Everything/fields/{{field}}", _FIELD, ()),
        ("get", table, None, listing),
        ("post", f"{table}/listRecords", _LIST, ("timeZone", "userLocale")),
        ("post", table, _WRITE, ()),
        ("patch", table, _WRITE, ()),
        ("put", table, _WRITE, ()),
        ("delete", table, None, ("records[]", "records")),
        ("get", f"{base}/{{table}}", None, ()),
        ("get", f"{base}/{{table}}/{{record}}", None, ()),
        ("get", f"{table}/{record}", None, ("cellFormat", "timeZone", "userLocale")),
        ("patch", f"{table}/{record}", _WRITE, ()),
        ("put", f"{table}/{record}", _WRITE, ()),
        ("delete", f"{table}/{{record}}", None, ()),
        ("get", comments, None, ("pageSize", "offset")),
        (
            "post",
            comments,
            {"type": "object", "properties": {"text": {}, "parentCommentId": {}}},
            (),
        ),
        ("patch", f"{comments}/{{comment}}", {"type": "object", "properties": {"text": {}}}, ()),
        ("delete", f"{comments}/{{comment}}", None, ()),
        ("post", f"{base}/{record}/Files/uploadAttachment", _FILE, ()),
        ("get", hooks, None, ()),
        ("post", hooks, _HOOK, ()),
        ("get", f"{hooks}/{webhook}/payloads", None, ("cursor", "limit")),
        ("post", f"{hooks}/{webhook}/refresh", {}, ()),
        (
            "post",
            f"{hooks}/{webhook}/enableNotifications",
            {"type": "object", "properties": {"enable": {}}},
            (),
        ),
        ("delete", f"{hooks}/{{webhook}}", None, ()),
    ]
    paths: dict[str, Any] = {}
    for method, path, body, query in surface:
        paths.setdefault(path, {})[method] = _operation(path, body, query)
    return {"openapi": "3.1.0", "info": {"title": "Airtable", "version": "0"}, "paths": paths}


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[SandboxClient]:
    with running_sandbox(leads=5, **NO_LIMITS) as running:
        add_everything(running)
        yield running


@pytest.fixture(scope="module")
def airtable_document(fuzzed: SandboxClient) -> dict[str, Any]:
    things = fuzzed.on(table="Everything")
    record = things.add({"Name": "fuzzed"})
    answer = requests.post(
        f"{fuzzed.url}/v0/bases/{fuzzed.base_id}/webhooks",
        json={
            "specification": {"options": {"filters": {"dataTypes": ["tableData", "tableFields"]}}}
        },
        headers={"Authorization": f"Bearer {fuzzed.token}"},
        timeout=30,
    )
    return _document(record, answer.json()["id"])


def _fuzz(document: dict[str, Any], sandbox: SandboxClient) -> int:
    """Send made-up calls to every operation and return how many operations there were."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    operations = [one.ok() for one in schemathesis.openapi.from_dict(document).get_all_operations()]
    for operation in operations:

        @SETTINGS
        @hypothesis.given(case=operation.as_strategy())
        def send(case: Any) -> None:
            answer = case.call(base_url=sandbox.url, headers=headers, timeout=30)
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"
            assert "Traceback" not in answer.text

        send()
    return len(operations)


def test_airtable_api(fuzzed: SandboxClient, airtable_document: dict[str, Any]) -> None:
    assert _fuzz(airtable_document, fuzzed) == 33


def test_control_api(fuzzed: SandboxClient, tmp_path: Path) -> None:
    """Schemathesis' checks: no 500, no undocumented answer, `Allow` with every 405, and so on."""
    record = fuzzed.on(table="Everything").add({"Name": "controlled"})
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        f'[parameters]\n"path.base_id" = "{fuzzed.base_id}"\n'
        f'"path.table_name" = "Everything"\n"path.record_id" = "{record}"\n'
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}"),
            *("run", f"{fuzzed.url}/sandbox/api/openapi.json"),
            # Armed at random these would answer 500, hang or move time under the other tests.
            *("--exclude-path-regex", "/(faults|switches|clock)$"),
            *("--seed=5", f"--max-examples={EXAMPLES}", "--phases=coverage,fuzzing"),
            # Whether a formula, say, can be parsed is not in the schema.
            *("--checks=all", "--exclude-checks=positive_data_acceptance"),
            *("--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Tested: 23" in done.stdout


@SETTINGS
@hypothesis.given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]),
    path=st.text(alphabet="/appReconcileDemo1Leads%2F?[]=&;.éñ\\", max_size=40),
    body=st.binary(max_size=60),
    token=st.booleans(),
)
def test_raw_requests(
    fuzzed: SandboxClient, method: str, path: str, body: bytes, token: bool
) -> None:
    headers = {"Authorization": f"Bearer {fuzzed.token}"} if token else {}
    url = f"{fuzzed.url}/v0/{path}"
    answer = requests.request(method, url, data=body, headers=headers, timeout=30)
    assert answer.status_code < 500, answer.text
