"""Answers as recorded or documented: batches, the base itself, attachments, comments (§4 to §8)."""

from typing import Any

import pytest

from reconciler_dagster.sandbox import DEMO_BASE_ID
from reconciler_dagster.sandbox.testing import SandboxClient

from .raw import call
from .test_golden import LEADS, NOT_ALLOWED


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("upsert", [{}, {"performUpsert": {"fieldsToMergeOn": ["Lead"]}}])
def test_the_same_record_twice_in_one_batch_is_refused_whole(
    sandbox: SandboxClient, method: str, upsert: dict[str, Any]
) -> None:
    first, second = list(sandbox.records())[:2]
    before = sandbox.records()
    batch = [{"id": one, "fields": {"Notes": "n"}} for one in (first, second, first)]
    refused = call(sandbox, method, LEADS, {"records": batch, **upsert})
    assert (refused.status_code, refused.text) == (
        422,
        '{"error":{"type":"INVALID_RECORDS","message":"You cannot update the same record multiple '
        'times in a single request."}}',
    )
    assert sandbox.records() == before


def test_an_upsert_that_finds_one_record_twice_is_refused(sandbox: SandboxClient) -> None:
    found = sandbox.add({"Lead": "The one"})
    batch = [{"fields": {"Lead": "The one", "Notes": note}} for note in "ab"]
    body = {"records": batch, "performUpsert": {"fieldsToMergeOn": ["Lead"]}}
    assert call(sandbox, "PATCH", LEADS, body).status_code == 422
    assert "Notes" not in sandbox.record(found)["fields"]


def test_the_base_itself(sandbox: SandboxClient) -> None:
    answer = call(sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}").json()
    (listed,) = call(sandbox, "GET", "meta/bases").json()["bases"]
    assert {name: answer[name] for name in listed} == listed
    assert answer.keys() == listed.keys() | {"createdTime", "workspaceId"}
    oldest = min(record["createdTime"] for record in sandbox.records().values())
    assert answer["createdTime"] <= oldest
    asked = "include=collaborators&include=inviteLinks&include=interfaces"
    included = call(sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}?{asked}").json()
    people = included["individualCollaborators"]["baseCollaborators"]
    assert "ann@example.com" in {person["email"] for person in people}
    assert included["inviteLinks"] == {"baseInviteLinks": [], "workspaceInviteLinks": []}
    assert included["interfaces"] == {}
    assert call(sandbox, "GET", f"meta/bases/{DEMO_BASE_ID}?include=x").status_code == 422
    unknown = call(sandbox, "GET", "meta/bases/appAAAAAAAAAAAAAA")
    assert (unknown.status_code, unknown.text) == (403, NOT_ALLOWED)
    assert call(sandbox, "GET", "meta/bases/app1").text == '{"error":"NOT_FOUND"}'


def test_a_base_that_was_just_made(sandbox: SandboxClient) -> None:
    fields = [{"name": "Name", "type": "singleLineText"}]
    body = {"name": "New", "workspaceId": "wspAAAAAAAAAAAAAA"}
    made = call(
        sandbox, "POST", "meta/bases", {**body, "tables": [{"name": "T", "fields": fields}]}
    )
    sandbox.advance(1000)
    answer = call(sandbox, "GET", f"meta/bases/{made.json()['id']}").json()
    assert {name: answer[name] for name in body} == body
    assert answer["createdTime"] < sandbox.status()["now"]


def test_an_attachment_has_what_airtable_learns_from_the_file(sandbox: SandboxClient) -> None:
    sandbox.create_field("Files", "multipleAttachments")
    urls = ["https://x.example/p/cat.png?size=2", "https://x.example/a.pdf", "https://x.example/"]
    body = {"fields": {"Files": [{"url": url} for url in urls]}}
    made = call(sandbox, "POST", LEADS, body).json()
    picture, document, file = made["fields"]["Files"]
    common = {"id", "url", "filename", "size", "type"}
    assert picture.keys() == common | {"width", "height", "thumbnails"}
    assert document.keys() == file.keys() == common
    assert (picture["filename"], picture["type"]) == ("cat.png", "image/png")
    assert (document["filename"], document["type"]) == ("a.pdf", "application/pdf")
    assert (file["filename"], file["type"]) == ("file", "application/octet-stream")
    assert all(one["size"] > 0 for one in (picture, document, file))
    shape = picture["width"] / picture["height"]
    small, large, full = (picture["thumbnails"][size] for size in ("small", "large", "full"))
    assert small["height"] == 36
    assert max(large["width"], large["height"]) <= 512
    assert abs(large["width"] / large["height"] - shape) < 0.05
    assert (full["width"], full["height"]) == (3000, 3000)
    assert len({one["url"] for one in (small, large, full)}) == 3
    kept = call(sandbox, "PATCH", f"{LEADS}/{made['id']}", {"fields": {"Notes": "n"}}).json()
    assert kept["fields"]["Files"] == made["fields"]["Files"]
    again = call(sandbox, "POST", LEADS, body).json()["fields"]["Files"][0]
    assert (again["size"], again["width"]) == (picture["size"], picture["width"])


def test_comments_carry_who_is_mentioned(sandbox: SandboxClient) -> None:
    lead = next(iter(sandbox.records()))
    user = "usrSandboxOwner01"
    text = f"Look, @[{user}] and @[usrAAAAAAAAAAAAAA] and @[{user}]!"
    comments = f"{LEADS}/{lead}/comments"
    made = call(sandbox, "POST", comments, {"text": text}).json()
    assert made["text"] == text
    assert made["mentioned"] == {
        user: {"type": "user", "id": user, "displayName": "API user", "email": "owner@example.com"}
    }
    (listed,) = call(sandbox, "GET", comments).json()["comments"]
    assert listed == made
    edited = call(sandbox, "PATCH", f"{comments}/{made['id']}", {"text": "Nobody"}).json()
    assert "mentioned" not in edited
