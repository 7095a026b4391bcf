"""A key for each client: where it is kept, how it is rotated, and what a revoked one costs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from reconciler_dagster import redaction
from reconciler_dagster.airtable.errors import ScopeLost, TokenRefused
from reconciler_dagster.airtable.owner import NEEDED_SCOPES
from reconciler_dagster.airtable.token import Token
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.scope import EVERYTHING
from reconciler_dagster.engine import tokens
from reconciler_dagster.engine.listing import list_window
from reconciler_dagster.postgres import client_tokens
from reconciler_dagster.postgres.client_tokens import Reference
from reconciler_dagster.sandbox.world import ALL_SCOPES
from reconciler_dagster.sealing import Keys, fresh_key
from reconciler_dagster_tests.world import World, world

DEFAULT, OWN, NEXT = "patDefault0000000", "patAcmesOwn000000", "patAcmesNext00000"


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    with world(portal_db, leads=250, token=DEFAULT) as here:
        yield here


def accept(acme: World, *accepted: str) -> None:
    acme.sandbox.accept_tokens(dict.fromkeys(accepted, ALL_SCOPES))
    acme.sandbox.reset_calls()


def give(acme: World, reference: Reference) -> None:
    with acme.engine.begin() as connection:
        client_tokens.put(connection, acme.client.id, reference)


def kept(acme: World, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    """OWN, kept in one of the three ways."""
    if kind == "env":
        monkeypatch.setenv("AIRTABLE_KEY_ACME", f" {OWN}\r\n")
        return Reference("env", "AIRTABLE_KEY_ACME")
    if kind == "file":
        (tmp_path / "acme").write_text(f"\ufeff{OWN}\n")
        return Reference("file", str(tmp_path / "acme"))
    acme.settings = acme.settings.model_copy(
        update={"token_keys": Settings(RECONCILER_TOKEN_KEYS=fresh_key()).token_keys}
    )
    sealed = tokens.keys(acme.settings).seal(acme.client.id, OWN)
    return Reference("table", sealed=sealed)


@pytest.mark.parametrize("kind", ["env", "file", "table"])
def test_a_client_is_synced_with_its_own_token_alone(
    acme: World, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(acme, kept(acme, kind, tmp_path, monkeypatch))
    accept(acme, OWN)  # the default one is worth nothing
    acme.sync()
    acme.assert_converged()
    assert OWN not in redaction.redacted(f"the token {OWN} was sent")
    stored = acme.value("SELECT row_to_json(t)::text FROM reconciler.client_token t")
    assert OWN not in stored


def test_without_one_of_its_own_it_has_the_default(acme: World) -> None:
    accept(acme, DEFAULT)
    acme.sync()
    acme.assert_converged()


def test_a_token_is_rotated_in_the_middle_of_a_run(acme: World, tmp_path: Path) -> None:
    """The run asks again once it is refused, and nothing is carried out twice or lost."""
    path = tmp_path / "acme"
    path.write_text(OWN)
    give(acme, Reference("file", str(path)))
    accept(acme, OWN)
    acme.sync()
    for record_id in list(acme.sandbox.records())[:30]:
        acme.update(record_id, notes="from the portal")
    session = acme.session()
    assert session.base.schema("Leads")
    path.write_text(NEXT)
    accept(acme, NEXT)
    assert session.base.schema("Leads")
    assert [call["status"] for call in acme.sandbox.calls()] == [401, 200]
    acme.sync()
    acme.assert_converged()


def test_a_refused_token_costs_one_call_whatever_the_run_does(acme: World, tmp_path: Path) -> None:
    """Also where many threads list side by side."""
    path = tmp_path / "acme"
    path.write_text(OWN)
    give(acme, Reference("file", str(path)))
    accept(acme, OWN)
    acme.sync()
    accept(acme, DEFAULT)
    session = acme.session()
    assert session.bound  # remembered: no call

    def list_one(number: int) -> None:
        with pytest.raises(TokenRefused, match=r"^The Airtable token of Acme \(the file "):
            list_window(session, EVERYTHING, f"key {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(list_one, range(60)))
    assert [call["status"] for call in acme.sandbox.calls()] == [401]
    assert session.calls == 1


def test_a_write_that_is_refused_ends_the_run_and_the_next_one_writes(
    acme: World, tmp_path: Path
) -> None:
    path = tmp_path / "acme"
    path.write_text(OWN)
    give(acme, Reference("file", str(path)))
    accept(acme, OWN)
    acme.sync()
    for record_id in list(acme.sandbox.records())[:90]:
        acme.update(record_id, notes="from the portal")
    acme.sandbox.fault("status", status=401, method="PATCH", times=100)
    acme.sandbox.reset_calls()
    with pytest.raises(TokenRefused):
        acme.sync()
    refused = [call for call in acme.sandbox.calls() if call["status"] == 401]
    # What was on its way at the same moment; not nine batches, halved down to their cells.
    assert len(refused) <= 5
    acme.sandbox.clear_faults()
    acme.sync()
    acme.assert_converged()


def test_a_token_is_proved_by_one_call_before_the_others_go() -> None:
    under_way: list[int] = []
    most = 0
    token = Token(lambda: OWN, lambda: "refused")

    def call(number: int) -> None:
        nonlocal most
        with token.trial():
            under_way.append(number)
            most = max(most, len(under_way))
            under_way.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(200)))
    assert most == 1


def test_those_who_waited_for_the_proof_go_on_together() -> None:
    token = Token(lambda: OWN, lambda: "refused")
    together = Barrier(3)

    def call(_number: int) -> None:
        with token.trial():
            together.wait(60)

    with ThreadPoolExecutor(3) as pool:
        with token.trial():
            calls = [pool.submit(call, number) for number in range(3)]
            time.sleep(0.2)  # so that they do wait
            token.proved()
        for one in calls:
            one.result()


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (Reference("env", "AIRTABLE_NOT_SET"), "the variable AIRTABLE_NOT_SET.*not set"),
        (Reference("env", "DATABASE_URL"), "begins with AIRTABLE_"),
        (Reference("file", "/nowhere/at/all"), "the file /nowhere/at/all.*No such file"),
        (Reference("file", "/proc/self/environ"), "not usable"),
        (Reference("file", "/"), "the file /.*Is a directory"),
        (Reference("table", sealed=b"nonsense"), "RECONCILER_TOKEN_KEYS"),
    ],
)
def test_a_token_that_is_not_to_be_had_is_told_with_client_and_place(
    acme: World, reference: Reference, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hidden-password@host/db")
    give(acme, reference)
    acme.settings = acme.settings.model_copy(
        update={"token_keys": Settings(RECONCILER_TOKEN_KEYS=fresh_key()).token_keys}
    )
    accept(acme, DEFAULT)
    with pytest.raises(ConfigurationError, match=why) as told:
        acme.sync()
    assert "Acme" in str(told.value)
    assert "hidden-password" not in str(told.value)
    assert acme.sandbox.calls() == []


def test_a_sealed_token_is_of_no_use_to_another_client() -> None:
    keys = Keys(fresh_key())
    sealed = keys.seal("one", OWN)
    assert keys.open("one", sealed) == OWN
    with pytest.raises(Exception, match=r"^$"):
        keys.open("other", sealed)


def test_keys_are_rotated_without_a_moment_in_which_none_fits() -> None:
    old, new = fresh_key(), fresh_key()
    sealed = Keys(old).seal("one", OWN)
    both = Keys(f"{new}, {old}")
    assert both.open("one", sealed) == OWN
    anew = both.seal_anew(sealed)
    assert Keys(new).open("one", anew) == OWN
    assert Keys(f"{new} {old}").open("one", anew) == OWN


def test_a_key_that_is_none_is_told_by_its_setting_and_not_quoted() -> None:
    os.environ["RECONCILER_TOKEN_KEYS"] = f"{fresh_key()},not-a-key-at-all"
    try:
        with pytest.raises(ConfigurationError, match=r"^RECONCILER_TOKEN_KEYS") as told:
            Settings.load()
        assert "not-a-key" not in str(told.value)
    finally:
        del os.environ["RECONCILER_TOKEN_KEYS"]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("scope", NEEDED_SCOPES)
def test_a_token_that_loses_a_scope_is_told_by_its_name_and_nothing_is_lost(
    acme: World, scope: str, told: bool
) -> None:
    """``told``: whether Airtable tells a token's scopes, as it does of OAuth tokens alone."""
    acme.sync()
    acme.sandbox.switch(whoami_scopes=told)
    acme.sandbox.accept_tokens({DEFAULT: [one for one in NEEDED_SCOPES if one != scope]})
    acme.sql("UPDATE reconciler.table_binding SET read_at = read_at - interval '2 days'")
    records = sorted(acme.sandbox.records())
    for record_id in records[:40]:
        acme.update(record_id, hrq_status="Archive")
    acme.sandbox.edit(records[50], {"Company": "Edited meanwhile"})
    acme.sandbox.reset_calls()
    with pytest.raises(ScopeLost, match=rf"^AIRTABLE_API_KEY lacks {scope} in the base of Acme"):
        acme.sync()
    assert len(acme.sandbox.calls()) < 12
    assert acme.value("SELECT count(*) FROM reconciler.quarantine") == 0
    if scope == "data.records:write":
        assert acme.lead(records[50])["company"] == "Edited meanwhile"
    accept(acme, DEFAULT)
    acme.sync()
    acme.assert_converged()
    assert acme.cell(records[0], "HRQ Status") == "Archive"


@pytest.mark.parametrize("told", [True, False])
def test_a_field_that_may_not_be_edited_is_no_scope_that_was_lost(acme: World, told: bool) -> None:
    acme.sync()
    acme.sandbox.switch(whoami_scopes=told)
    (record_id, *_) = sorted(acme.sandbox.records())
    acme.update(record_id, hrq_status="Archive")
    message = "You are not permitted to write cell values in field HRQ Status (fldX)"
    body = {"error": {"type": "INVALID_PERMISSIONS", "message": message}}
    acme.sandbox.fault("status", status=403, method="PATCH", times=None, body=body)
    assert acme.sync().counts.quarantined == 1
