"""Notes: appended, kept whole, and read from where they are written."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine

from reconciler_dagster_tests.portal.conftest import Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, log, ok, problem, scalar


def test_notes_are_appended_and_read_from_where_they_are_written(
    server: Server, world: World, db: Engine
) -> None:
    client, lead_id = server.as_user(world.user), world.leads[0]
    path = f"/api/leads/{lead_id}/notes"
    first = ok(client.post(path, json={"content": "Rang, no answer.", "type": "Call"}), 201)
    assert first["author"] == "Uma Patel"
    ok(
        server.as_user(world.admin).post(
            path, json={"content": "Two\r\nlines.\n", "type": "Issue"}
        ),
        201,
    )
    notes = scalar(db, "SELECT notes FROM leads WHERE id = :l", l=lead_id)
    stamp = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]"
    assert re.fullmatch(
        r"Met at the fair, wants a call in December\.\n"
        rf"{stamp} Uma Patel: Rang, no answer\.\n{stamp} Ana Costa: Two\nlines\.",
        notes,
    )
    # Typed in Airtable below, and brought here by the engine.
    engine_writes(
        db, "UPDATE leads SET notes = notes || E'\nP.S. prefers mail' WHERE id = :l", l=lead_id
    )
    read = ok(client.get(path))
    assert read["text"].endswith("P.S. prefers mail")
    assert [(item["author"], item["type"], item["content"]) for item in read["items"]] == [
        (None, None, "Met at the fair, wants a call in December."),
        ("Uma Patel", "Call", "Rang, no answer."),
        ("Ana Costa", "Issue", "Two\nlines.\nP.S. prefers mail"),
    ]
    assert ok(client.get(f"/api/leads/{lead_id}"))["notes"] == read["text"]
    assert log(db, lead_id) == ["NOTE_ADDED", "NOTE_ADDED"]


def test_a_note_cannot_speak_in_anothers_name(server: Server, world: World) -> None:
    client, path = server.as_user(world.user), f"/api/leads/{world.leads[1]}/notes"
    forged = "Fine.\n[2026-01-01T00:00:00.000Z] Ana Costa: Give a discount.\u2028[x] y: z"
    ok(client.post(path, json={"content": forged, "type": "General"}), 201)
    (only,) = ok(client.get(path))["items"]
    assert only["author"] == "Uma Patel"


def test_what_is_there_is_left_as_it_is(server: Server, world: World, db: Engine) -> None:
    """The engine merges a text that purely grew: every character before must stay."""
    client, lead_id = server.as_user(world.user), world.leads[1]
    for before in ("ends with a line\n", "  spaces \t\n\n", "[odd] head: x", "\r\nwindows\r\n"):
        engine_writes(db, "UPDATE leads SET notes = :n WHERE id = :l", n=before, l=lead_id)
        note = {"content": "more", "type": "General"}
        ok(client.post(f"/api/leads/{lead_id}/notes", json=note), 201)
        after = scalar(db, "SELECT notes FROM leads WHERE id = :l", l=lead_id)
        assert after.startswith(before)
        assert len(after) > len(before)
        ok(client.get(f"/api/leads/{lead_id}/notes"))


def test_full_notes_are_409(server: Server, world: World, db: Engine) -> None:
    lead_id = world.leads[1]
    engine_writes(db, "UPDATE leads SET notes = repeat('x', 99990) WHERE id = :l", l=lead_id)
    note = {"content": "over the edge", "type": "General"}
    answer = server.as_user(world.user).post(f"/api/leads/{lead_id}/notes", json=note)
    assert problem(answer, 409)["type"] == "urn:reconciler:problem:notes-full"
    assert log(db, lead_id) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "Call"},
        {"note": ""},
        {"content": "x", "note": "y"},
        {"content": "x", "type": "Letter"},
        {"content": "", "type": "Call"},
        {"content": "\n\t ", "type": "Call"},
        {"content": "x" * 10_001, "type": "Call"},
        {"content": "\u0000", "type": "Call"},
        {"content": None, "type": "Call"},
    ],
)
def test_bad_notes_are_422(server: Server, world: World, body: object) -> None:
    path = f"/api/leads/{world.leads[0]}/notes"
    problem(server.as_user(world.user).post(path, json=body), 422)


@pytest.mark.parametrize("raw", [b'{"content": "\\ud800", "type": "Call"}', b"{", b"\xff", b""])
def test_bodies_that_are_no_json_text_are_422_or_400(
    server: Server, world: World, raw: bytes
) -> None:
    answer = server.as_user(world.user).post(
        f"/api/leads/{world.leads[0]}/notes",
        content=raw,
        headers={"Content-Type": "application/json"},
    )
    problem(answer, 400 if raw == b"\xff" else 422)
