"""A real sandbox for every test, over HTTP on loopback."""

from collections.abc import Iterator
from typing import Any

import pytest
from pyairtable import Api, Table

from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

NO_LIMITS = {"calls_per_second_and_base": 0, "calls_per_second_and_user": 0}

MOMENT = {
    "dateFormat": {"name": "iso"},
    "timeFormat": {"name": "24hour"},
    "timeZone": "America/New_York",
}

EVERY_WRITABLE_TYPE: list[dict[str, Any]] = [
    {"name": "Name", "type": "singleLineText"},
    {"name": "Long", "type": "multilineText"},
    {"name": "Rich", "type": "richText"},
    {"name": "Email", "type": "email"},
    {"name": "Phone", "type": "phoneNumber"},
    {"name": "Url", "type": "url"},
    {"name": "Number", "type": "number", "options": {"precision": 2}},
    {"name": "Currency", "type": "currency", "options": {"precision": 2, "symbol": "$"}},
    {"name": "Percent", "type": "percent", "options": {"precision": 0}},
    {"name": "Duration", "type": "duration", "options": {"durationFormat": "h:mm"}},
    {"name": "Rating", "type": "rating", "options": {"max": 5}},
    {"name": "Checkbox", "type": "checkbox"},
    {"name": "Date", "type": "date"},
    {"name": "Moment", "type": "dateTime"},
    {"name": "Local", "type": "dateTime", "options": MOMENT},
    {
        "name": "Select",
        "type": "singleSelect",
        "options": {"choices": [{"name": "A"}, {"name": " A"}]},
    },
    {
        "name": "Selects",
        "type": "multipleSelects",
        "options": {"choices": [{"name": "x"}, {"name": "y"}]},
    },
    {"name": "Who", "type": "singleCollaborator"},
    {"name": "Team", "type": "multipleCollaborators"},
    {"name": "Files", "type": "multipleAttachments"},
    {"name": "Code", "type": "barcode"},
]


@pytest.fixture
def sandbox() -> Iterator[SandboxClient]:
    with running_sandbox(leads=30, **NO_LIMITS) as running:
        yield running


@pytest.fixture
def api(sandbox: SandboxClient) -> Api:
    return Api(sandbox.token, endpoint_url=sandbox.url, retry_strategy=None)


@pytest.fixture
def leads(sandbox: SandboxClient, api: Api) -> Table:
    return api.table(sandbox.base_id, "Leads")


@pytest.fixture
def everything(sandbox: SandboxClient) -> SandboxClient:
    """A client of the table Everything."""
    return add_everything(sandbox)


@pytest.fixture(scope="session")
def shared() -> Iterator[SandboxClient]:
    """One sandbox with the table Everything for tests that do not mind what others left there."""
    with running_sandbox(leads=30, **NO_LIMITS) as running:
        add_everything(running)
        yield running


@pytest.fixture
def shared_things(shared: SandboxClient) -> Table:
    api = Api(shared.token, endpoint_url=shared.url, retry_strategy=None)
    return api.table(shared.base_id, "Everything")


@pytest.fixture
def things(api: Api, everything: SandboxClient) -> Table:
    return api.table(everything.base_id, "Everything")


def leads_table_id(sandbox: SandboxClient) -> str:
    tables = sandbox.status()["bases"][0]["tables"]
    return str(next(table["id"] for table in tables if table["name"] == "Leads"))


def add_everything(sandbox: SandboxClient) -> SandboxClient:
    """Add the table Everything: every type, computed ones too, linked to the leads."""
    table_id = sandbox.create_table("Everything", EVERY_WRITABLE_TYPE)
    client = sandbox.on(table="Everything")
    links = client.create_field(
        "Leads", "multipleRecordLinks", {"linkedTableId": leads_table_id(sandbox)}
    )
    company = next(one["id"] for one in sandbox.fields() if one["name"] == "Company")
    score = next(one["id"] for one in sandbox.fields() if one["name"] == "ICP Score")
    client.create_field("Joined", "formula", {"formula": "{Name} & ' ' & {Number}"})
    client.create_field(
        "Companies",
        "multipleLookupValues",
        {"recordLinkFieldId": links, "fieldIdInLinkedTable": company},
    )
    client.create_field(
        "Scores",
        "rollup",
        {
            "recordLinkFieldId": links,
            "fieldIdInLinkedTable": score,
            "formula": "AVERAGE(values)",
        },
    )
    client.create_field("Count", "count", {"recordLinkFieldId": links})
    client.create_field("Created", "createdTime")
    client.create_field("Modified", "lastModifiedTime")
    name = next(one["id"] for one in client.fields() if one["name"] == "Name")
    client.create_field("Name Modified", "lastModifiedTime", {"referencedFieldIds": [name]})
    client.create_field("Creator", "createdBy")
    client.create_field("Editor", "lastModifiedBy")
    client.create_field("Auto", "autoNumber")
    client.create_field("Open", "button", {"label": "Open URL", "formula": "'https://x.example'"})
    assert table_id.startswith("tbl")
    return client
