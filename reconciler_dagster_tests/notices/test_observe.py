"""What is wrong, as Postgres knows it: of whom it is told, and of whom not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.brakes import FIGHT_RUNS
from reconciler_dagster.engine.tokens import lacking
from reconciler_dagster.engine.tokens import refused as why_refused
from reconciler_dagster.notices import heartbeat
from reconciler_dagster.notices.decide import Cause
from reconciler_dagster.notices.failures import kind_of
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.observe import observe
from reconciler_dagster.notices.watcher import look
from reconciler_dagster.postgres import adoption, client_tokens
from reconciler_dagster.postgres.client_tokens import Kind, Reference
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster_tests.notices.conftest import REFUSED, Office
from reconciler_dagster_tests.notices.receivers import notice_settings

LONG_AGO = "3 h"


def causes(office: Office) -> list[Cause]:
    with office.engine.begin() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        notices = notice_settings(office.web, office.box, quarantine_cells=0)
        return observe(connection, Settings(), notices, now)


def told(office: Office) -> set[tuple[str, str]]:
    return {(cause.kind, cause.subject) for cause in causes(office)}


def all_is_wrong_with(office: Office, client: str) -> None:
    """Whatever can be wrong with a client."""
    office.ran(client, ago=LONG_AGO)
    for _ in range(2):
        office.ran(client, "Airtable answered 503 RETRIABLE_ERROR", ago="2 h")
    office.ran(client, purpose="audit", findings='{"drift": ["one lead differs"]}')
    for statement in (
        "INSERT INTO reconciler.quarantine (client_id, record_id, field, direction, reason, "
        "next_attempt_at) VALUES (:c, 'recA', 'notes', 'to_airtable', 'no', now())",
        "INSERT INTO reconciler.fight (client_id, record_id, field, runs, run_id) "
        "VALUES (:c, 'recB', 'status', 99, 'r')",
        "INSERT INTO reconciler.tombstone (client_id, record_id, lead_id, state, created_time, "
        "reason) VALUES (:c, 'recC', gen_random_uuid(), 'awaiting_approval', now(), 'gone')",
        "INSERT INTO reconciler.baseline (client_id, record_id, lead_id, created_time, "
        "verified_at) VALUES (:c, 'recD', gen_random_uuid(), now(), now() - interval '99 days')",
        "INSERT INTO reconciler.field_binding (client_id, field, airtable_name, problem) "
        "VALUES (:c, 'notes', 'Notes', 'it was retyped')",
    ):
        office.sql(statement, c=client)


ALL = {
    *("runs_fail", "no_success", "quarantine", "sides_fight", "deletions_wait"),
    *("field_stopped", "drift", "proof_old"),
}


def test_of_a_client_that_is_not_adopted_or_is_paused_nothing_is_told(office: Office) -> None:
    (acme,) = office.clients("Acme")
    for name in ("New", "Paused"):
        (client,) = office.clients(name, adopted=name == "Paused")
        all_is_wrong_with(office, client)
        if name == "Paused":
            with office.engine.begin() as connection:
                adoption.pause(connection, client, "Ann")
    all_is_wrong_with(office, acme)
    assert told(office) == {(kind, "Acme") for kind in ALL}


def test_a_paused_clients_edits_must_be_noted_all_the_same(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.clients("New", adopted=False)
    with office.engine.begin() as connection:
        adoption.pause(connection, acme, "Ann")
    office.sql("ALTER TABLE leads DISABLE TRIGGER zz_reconciler_note_edit")
    assert told(office) == {("edits_unnoted", "Acme")}


def test_a_client_that_goes_on_after_a_pause_has_its_time_to_succeed(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.ran(acme, ago=LONG_AGO)
    assert told(office) == {("no_success", "Acme")}
    with office.engine.begin() as connection:
        adoption.pause(connection, acme, "Ann")
        adoption.resume(connection, acme, "Ann")
    assert told(office) == set()
    office.sql("UPDATE reconciler.adoption SET changed_at = now() - interval '31 minutes'")
    assert told(office) == {("no_success", "Acme")}


def test_the_outside_monitor_waits_for_no_client_that_may_not_be_written(office: Office) -> None:
    acme, beta = office.clients("Acme", "Beta")
    office.clients("New", adopted=False)
    office.ran(acme)
    settings = notice_settings(office.web, heartbeat_url=f"{office.web.url}/ping")
    heartbeat.beat(office.engine, settings)
    assert office.web.of("/ping") == []
    with office.engine.begin() as connection:
        adoption.pause(connection, beta, "Ann")
    heartbeat.beat(office.engine, settings)
    assert len(office.web.of("/ping")) == 1


def test_a_fight_is_told_from_the_run_on_in_which_it_is_one(office: Office) -> None:
    (acme,) = office.clients("Acme")
    office.sql(
        "INSERT INTO reconciler.fight (client_id, record_id, field, runs, run_id) "
        "SELECT CAST(:c AS uuid), 'rec' || n, f, :runs, 'r' "
        "FROM generate_series(1, 2) n, unnest(ARRAY['status', 'notes']) f",
        c=acme,
        runs=FIGHT_RUNS - 1,
    )
    assert told(office) == set()
    office.sql("UPDATE reconciler.fight SET runs = runs + 1")
    (cause,) = causes(office)
    assert (cause.kind, cause.subject) == ("sides_fight", "Acme")
    assert cause.detail == "leads.notes of 2 records, leads.status of 2 records"


def test_a_rehearsal_that_nobody_approves_of_is_told_after_an_hour(office: Office) -> None:
    (acme,) = office.clients("Acme", adopted=False)
    office.sql("INSERT INTO reconciler.rehearsal (client_id, report) VALUES (:c, '{}')", c=acme)
    assert told(office) == set()
    office.sql("UPDATE reconciler.rehearsal SET rehearsed_at = now() - interval '61 minutes'")
    assert told(office) == {("adoption_waits", "Acme")}
    with office.engine.begin() as connection:
        adoption.adopt(connection, acme, "Ann")
    assert told(office) == set()


def refused(office: Office, client: str, kind: Kind, name: str | None) -> None:
    """A run that ends with what is really said of a refused token of the client's own."""
    with office.engine.begin() as connection:
        sealed = b"sealed" if kind == "table" else None
        client_tokens.put(connection, client, Reference(kind, name, sealed))
        found = find_client(connection, client)
    message = why_refused(office.engine, found)
    assert message is not None
    assert kind_of(message) == "token_refused"
    office.ran(client, message)


def test_a_refused_token_is_one_notice_that_names_those_whose_it_is(
    office: Office, tmp_path: Path
) -> None:
    """Two have the default, two share a variable, and what is sealed belongs to one alone."""
    clients = office.clients(*"ABCDEFG")
    for client in clients[:2]:
        office.ran(client, REFUSED)
    for client in clients[2:4]:
        refused(office, client, "env", "AIRTABLE_SALES")
    refused(office, clients[4], "file", str(tmp_path / "a (b)" / "key"))
    for client in clients[5:]:
        refused(office, client, "table", None)
    office.keeper().look()
    assert sorted(office.titles()) == [
        *["Airtable refuses the token (1 client)"] * 3,
        *["Airtable refuses the token (2 clients)"] * 2,
    ]
    mails = [str(mail.get_payload(decode=True), "utf-8") for mail in office.box.mails]  # type: ignore[arg-type]
    heads = sorted(tuple(mail.splitlines()[:2]) for mail in mails)
    said = "Airtable refuses the token: "
    assert heads == sorted(
        [
            (f"{said}AIRTABLE_API_KEY.", "Whom: A, B"),
            (f"{said}the variable AIRTABLE_SALES.", "Whom: C, D"),
            (f"{said}the file {tmp_path / 'a (b)' / 'key'}.", "Whom: E"),
            (f"{said}{client_tokens.SEALED}.", "Whom: F"),
            (f"{said}{client_tokens.SEALED}.", "Whom: G"),
        ]
    )


def test_a_lost_scope_is_one_notice_for_all_that_have_the_token(office: Office) -> None:
    """Two have the default; what is sealed belongs to one alone, and lacks something else."""
    clients = office.clients("A", "B", "C")
    with office.engine.begin() as connection:
        client_tokens.put(connection, clients[2], Reference("table", None, b"sealed"))
        found = [find_client(connection, client) for client in clients]
    lost = [["data.records:write"]] * 2 + [["data.records:read", "schema.bases:read"]]
    for client, scopes in zip(found, lost, strict=True):
        office.ran(client.id, lacking(office.engine, client, scopes))
    office.keeper().look()
    mails = [str(mail.get_payload(decode=True), "utf-8") for mail in office.box.mails]  # type: ignore[arg-type]
    said = f"{KINDS['scope_lost'].happened}: "
    assert sorted(tuple(mail.splitlines()[:2]) for mail in mails) == sorted(
        [
            (f"{said}AIRTABLE_API_KEY lacks data.records:write.", "Whom: A, B"),
            (
                f"{said}{client_tokens.SEALED} lacks data.records:read and schema.bases:read.",
                "Whom: C",
            ),
        ]
    )


@pytest.mark.parametrize("environment", ["", "staging", "preproduction"])
def test_where_nothing_starts_by_itself_nobody_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    """A copy has the credentials, the clients and the notices of the deployment it was made of."""
    acme, beta = office.clients("Acme", "Beta")
    office.ran(acme, REFUSED)
    office.ran(beta)
    office.box.refuses = True
    office.keeper().look()
    office.box.refuses = False
    office.sql("UPDATE reconciler.notice_delivery SET due_at = clock_timestamp()")
    before = office.sql("SELECT id, ended_at FROM reconciler.notice_delivery ORDER BY id")
    came = len(office.web.of("/webhook"))
    monkeypatch.setenv("RECONCILER_ENVIRONMENT", environment)
    look(office.keeper(heartbeat_url=f"{office.web.url}/ping/{{client}}"))
    assert office.box.mails == []
    assert len(office.web.of("/webhook")) == came
    assert office.web.of(f"/ping/{beta}") == []
    # Nor does it take anything from those who are to tell it.
    assert office.sql("SELECT id, ended_at FROM reconciler.notice_delivery ORDER BY id") == before
    monkeypatch.setenv("RECONCILER_ENVIRONMENT", "demo")
    look(office.keeper())
    assert office.titles() == ["Airtable refuses the token (1 client)"]
