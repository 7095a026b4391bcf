"""What a customer's people read of a run is one of a few sentences, whatever the run has said."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from reconciler_dagster.portal import plain
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster_tests.portal import data
from reconciler_dagster_tests.portal.conftest import Server, signed_in
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import engine_writes, ok

ROOT = User(uuid4(), "root@agency.test", "Root", Role.SUPER_ADMIN, None)
ADMIN = User(uuid4(), "ana@northwind.test", "Ana", Role.CLIENT_ADMIN, uuid4())
SECRET = "patXYZ.0123456789abcdef"
TELLING = [
    'connection to server at "db.internal" (10.0.0.5), port 5432 failed: timeout expired',
    "permission denied for table leads",
    f"Invalid header value b'Bearer {SECRET}\\r'",
    "Airtable answered 422 INVALID: https://api.airtable.com/v0/app1/tbl1 said no",
    f"Airtable answered nothing : HTTPSConnectionPool(host='proxy.internal'): {SECRET}",
    f"AIRTABLE_API_KEY is not accepted by Airtable: set it to a valid one, not {SECRET}",
    "The run was stopped. 60 leads. If it is meant, launch it with allow_mass_clear on db.internal",
    'Traceback (most recent call last):\n  File "/srv/app/engine.py", line 1\nSELECT 1 FROM leads',
]
TOLD = re.compile(
    rf"{SECRET}|internal|10\.0\.0\.5|https?:|leads;|SELECT|Traceback|/srv|allow_mass|permission"
)


@pytest.mark.parametrize("message", TELLING)
def test_nothing_of_a_runs_own_text_is_told(message: str) -> None:
    told = plain.run_message(ADMIN, message)
    assert told
    assert not TOLD.search(told)
    assert plain.run_message(ROOT, message) == message


SENTENCES = {plain.UNKNOWN, *(sentence for _, sentence in plain._SENTENCES)}


@given(st.one_of(st.text(), st.sampled_from(TELLING).flatmap(lambda t: st.just(t) | st.text())))
def test_whatever_it_says_one_of_the_sentences_comes_of_it(message: str) -> None:
    assert plain.run_message(ADMIN, message) in SENTENCES


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("The run was interrupted (Ctrl-C).", "cut off"),
        ("The run died before it could end.", "cut off"),
        ("The run ended without a word.", "cut off"),
        ("The run was cut off: its process ended before it could say why.", "cut off"),
        ("Of 12 records that this run had read, 3 are gone: Postgres was restarted.", "cut off"),
        ("Run 1f-2 is writing for client 7a-9: try again when it is done.", "Another sync"),
        ("Client 7a-9 may have been written for after this run had read it: run", "Another sync"),
        ("This client's base or table was changed while the run was at work; it", "was changed"),
        ("Acme & Co has another base or table than when the run began; it wrote", "was changed"),
        ("Acme was given another base while the run began: run again.", "was changed"),
        ("Base app1 has no table 'Leads' (it has 'Secret'): set it.", "no table of the name"),
        ("Base app1 cannot be read: a base id is 'app' and 14 letters", "renew its access"),
        ("No call to Airtable can be made with these settings: check", "with its settings"),
        ("Airtable answered 429 PUBLIC_API_BILLING_LIMIT_EXCEEDED: no", "month"),
        ("Airtable answered 429 RATE_LIMIT: no", "less often"),
        ("Airtable answered 200 an answer that cannot be understood: x", "did not answer"),
        ("Row level security may hide rows of public.leads from the role", "database"),
        ("The database role x lacks privileges: UPDATE ON public.leads.", "database"),
        ("Edits in Postgres cannot be noted: the engine's table x is gone.", "database"),
        ("public.leads is a view; expected a table. Give the table its name", "database"),
    ],
)
def test_what_a_run_ends_with_has_its_plain_sentence(message: str, word: str) -> None:
    told = plain.run_message(ADMIN, message)
    assert told is not None
    assert word in told


def test_a_run_that_said_nothing() -> None:
    assert plain.run_message(ADMIN, None) is None


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            "'Phone' is stopped: the table has no such field; add it or rename it back.",
            "'Phone' is stopped: the table has no such field; add it or rename it back.",
        ),
        (
            "'Phone' is stopped: it is of type multilineText, expected singleLineText or email; "
            "change it back.",
            "'Phone' is stopped: it is of type multilineText, expected singleLineText or email; "
            "change it back.",
        ),
        (
            "'Phone' is stopped: leads has no column phone; add it.",
            "'Phone' is stopped. The operator of this portal sees why.",
        ),
        ("psycopg said db.internal", "A field is stopped. The operator of this portal sees why."),
    ],
)
def test_of_a_stopped_field_only_what_they_can_mend(problem: str, told: str) -> None:
    assert plain.stopped_field(ADMIN, problem) == told
    assert plain.stopped_field(ROOT, problem) == problem


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (
            'Postgres refuses it: new row for relation "leads" violates check constraint "x"',
            "Postgres refuses it. The operator of this portal sees why.",
        ),
        (
            "Airtable refuses HRQ Status: Insufficient permissions at https://x.test",
            "Airtable refuses HRQ Status. The operator of this portal sees why.",
        ),
        ("Notes is 3 characters long, more than Airtable takes: shorten it", None),
        ("Airtable refuses Notes, as for other leads before", None),
    ],
)
def test_of_a_refusal_who_refuses_and_not_their_words(reason: str, told: str | None) -> None:
    assert plain.refusal(ADMIN, reason) == (told or reason)
    assert plain.refusal(ROOT, reason) == reason


def pages(server: Server, world: World, user: User, run: str, request_id: int) -> dict[str, str]:
    """Everything that tells of a run or of what it came upon, as this user gets it."""
    api, browser = server.as_user(user), signed_in(server, user)
    lead = world.leads[0]
    own = {"client_id": str(world.client)}
    if user.role is Role.SUPER_ADMIN:
        browser.post("/console/client", data=own)
    texts = {
        path: api.get(path, params=own if "status" in path else None)
        for path in (
            "/api/admin/sync/status",
            f"/api/admin/sync/delta/{request_id}",
            f"/api/leads/{lead}",
        )
    }
    for path in ("", "/drift", "/runs", f"/runs/{run}", "/quarantine", f"/leads/{lead}"):
        texts[path] = browser.get(f"/console{path}")
    texts["fragment"] = browser.get(f"/console/sync/{request_id}")
    for path, answer in texts.items():
        assert answer.status_code == 200, (path, answer.text)
    return {path: answer.text for path, answer in texts.items()}


def test_every_answer_about_runs(server: Server, world: World, db: Engine) -> None:
    """Marks in every text that a run leaves: the operator sees each, a customer's admin none."""
    with db.begin() as connection:
        run = data.run(connection, world.client, state="failed", message="MARK-run db.internal")
        data.quarantine(
            connection,
            world.client,
            "rec" + "0".zfill(14),
            "notes",
            "x",
            "Postgres refuses it: MARK-quarantine",
        )
    client = server.as_user(world.admin)
    request_id = ok(client.post("/api/admin/sync/delta"), 202)["id"]
    engine_writes(
        db,
        "UPDATE reconciler.manual_sync_request SET state = 'failed', finished_at = now(),"
        " run_id = :run, message = 'MARK-request at https://db.internal' WHERE id = :id",
        run=run,
        id=request_id,
    )
    engine_writes(
        db,
        "INSERT INTO reconciler.field_binding"
        " (client_id, field, airtable_name, problem, fingerprint)"
        " VALUES (:c, 'phone', 'Phone', '''Phone'' is stopped: MARK-field', '')",
        c=world.client,
    )
    seen = pages(server, world, world.root, run, request_id)
    for mark, path in (
        ("MARK-run", "/api/admin/sync/status"),
        ("MARK-run", f"/runs/{run}"),
        ("MARK-request", f"/api/admin/sync/delta/{request_id}"),
        ("MARK-request", ""),
        ("MARK-request", "fragment"),
        ("MARK-field", "/api/admin/sync/status"),
        ("MARK-quarantine", "/quarantine"),
        ("MARK-quarantine", f"/api/leads/{world.leads[0]}"),
        ("MARK-quarantine", f"/leads/{world.leads[0]}"),
        ("dagster.test", f"/runs/{run}"),
    ):
        assert mark in seen[path], (mark, path)
    for path, text in pages(server, world, world.admin, run, request_id).items():
        assert "MARK" not in text, path
        assert "internal" not in text, path
        assert "dagster.test" not in text, path
    told = pages(server, world, world.admin, run, request_id)
    assert plain.UNKNOWN in told[f"/runs/{run}"]
