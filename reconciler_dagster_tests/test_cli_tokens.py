"""`reconciler tokens` and what the doctor says of each client's token."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler_dagster.airtable.owner import NEEDED_SCOPES
from reconciler_dagster.sandbox.world import ALL_SCOPES
from reconciler_dagster.sealing import fresh_key
from reconciler_dagster_tests.program import reconciler
from reconciler_dagster_tests.world import World, world

BASES = ("appAcme0000000000", "appBeta0000000000")
DEFAULT, OWN = "patDefault0000000", "patBetasOwn000000"


class Operator:
    """Somebody at the command line."""

    def __init__(self, acme: World, folder: Path) -> None:
        self.world, self.folder = acme, folder
        self.env = {
            "DATABASE_URL": acme.settings.require_database_url(),
            "AIRTABLE_API_KEY": DEFAULT,
            "AIRTABLE_ENDPOINT_URL": acme.sandbox.url,
            "RECONCILER_STATE_DIR": str(folder / "state"),
            "RECONCILER_TOKEN_KEYS": fresh_key(),
        }

    def __call__(self, *arguments: str, entered: str = "") -> tuple[int, str]:
        env = os.environ | self.env
        done = reconciler(*arguments, env=env, cwd=self.folder, entered=entered)
        assert "Traceback" not in done.stderr, done.stderr
        assert OWN not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    def doctor(self) -> dict[str, Any]:
        _, printed = self("doctor", "--json")
        return {check["check"]: check for check in json.loads(printed)["checks"]}

    def id_of(self, name: str) -> str:
        return str(self.world.value("SELECT id FROM clients WHERE company_name = :name", name=name))


@pytest.fixture
def operator(portal_db: str, tmp_path: Path) -> Iterator[Operator]:
    with world(portal_db, leads=5, token=DEFAULT, base_ids=BASES) as here:
        here.sql(
            "INSERT INTO clients (company_name, airtable_base_id) VALUES ('Beta', :base)",
            base=BASES[1],
        )
        here.adopt()
        yield Operator(here, tmp_path)


def test_a_token_is_set_sealed_rotated_and_taken_away(operator: Operator) -> None:
    beta = operator.id_of("Beta")
    assert operator("tokens", "set", "--client", beta, entered=f" {OWN}\n")[0] == 0
    code, listed = operator("tokens", "list", "--json")
    rows = {row["client"]: row for row in json.loads(listed)["tokens"]}
    assert code == 0
    assert rows["Acme"]["kept"] == "AIRTABLE_API_KEY"
    assert rows["Beta"]["kept"] == "sealed in the portal's database"

    old = operator.env["RECONCILER_TOKEN_KEYS"]
    new = operator("tokens", "new-key")[1].strip()
    operator.env["RECONCILER_TOKEN_KEYS"] = new
    assert operator("tokens", "list")[0] == 1
    code, said = operator("tokens", "rotate")
    assert (code, "none was changed" in said) == (2, True)
    operator.env["RECONCILER_TOKEN_KEYS"] = f"{new},{old}"
    assert operator("tokens", "rotate") == (0, "1 token encrypted with the first key.\n")
    operator.env["RECONCILER_TOKEN_KEYS"] = new
    assert operator("tokens", "list")[0] == 0

    assert operator("tokens", "unset", "--client", beta)[0] == 0
    assert operator.world.value("SELECT count(*) FROM reconciler.client_token") == 0


def test_without_a_key_nothing_is_kept(operator: Operator) -> None:
    operator.env["RECONCILER_TOKEN_KEYS"] = ""
    code, said = operator("tokens", "set", "--client", operator.id_of("Beta"), entered=OWN)
    assert (code, "RECONCILER_TOKEN_KEYS is not set" in said) == (2, True)
    assert operator.world.value("SELECT count(*) FROM reconciler.client_token") == 0


@pytest.mark.parametrize(
    ("arguments", "entered"),
    [
        (["--env", "DATABASE_URL"], ""),
        (["--file", "relative/path"], ""),
        (["--env", "AIRTABLE_KEY_BETA", "--file", "/run/secrets/beta"], ""),
        ([], ""),
        ([], "two words"),
    ],
)
def test_what_can_be_no_token_is_refused_at_once(
    operator: Operator, arguments: list[str], entered: str
) -> None:
    beta = operator.id_of("Beta")
    code, _ = operator("tokens", "set", "--client", beta, *arguments, entered=entered)
    assert code == 2
    assert operator.world.value("SELECT count(*) FROM reconciler.client_token") == 0


def test_a_revoked_token_stops_its_client_alone(operator: Operator) -> None:
    acme, beta, sandbox = operator.id_of("Acme"), operator.id_of("Beta"), operator.world.sandbox
    (operator.folder / "beta").write_text(OWN)
    operator("tokens", "set", "--client", beta, "--file", str(operator.folder / "beta"))
    sandbox.accept_tokens(dict.fromkeys((DEFAULT, OWN), ALL_SCOPES))
    assert operator("run")[0] == 0

    sandbox.accept_tokens({DEFAULT: ALL_SCOPES})
    for command in (["run"], ["great-sync"], ["audit"]):
        sandbox.reset_calls()
        code, said = operator(*command)
        assert code == 2, said
        assert "The Airtable token of Beta (the file" in said
        assert [call["status"] for call in sandbox.calls()].count(401) == 1, command
        states = operator.world.sql(
            "SELECT client_id::text, state FROM reconciler.run_summary "
            "WHERE started_at = (SELECT max(started_at) FROM reconciler.run_summary s "
            "WHERE s.client_id = run_summary.client_id)"
        )
        assert dict(map(tuple, states))[acme] == "succeeded"


def test_the_doctor_knows_each_clients_token_and_its_scopes(operator: Operator) -> None:
    beta, sandbox = operator.id_of("Beta"), operator.world.sandbox
    (operator.folder / "beta").write_text(OWN)
    operator("tokens", "set", "--client", beta, "--file", str(operator.folder / "beta"))

    sandbox.accept_tokens({DEFAULT: ALL_SCOPES, OWN: NEEDED_SCOPES})
    found = operator.doctor()
    assert "webhook:manage: take them away" in found["Airtable token"]["detail"]
    assert found["token of Beta"]["state"] == "ok"
    assert "no more scopes than are needed" in found["token of Beta"]["detail"]
    assert (found["client Acme"]["state"], found["client Beta"]["state"]) == ("ok", "ok")

    sandbox.accept_tokens({DEFAULT: ALL_SCOPES, OWN: NEEDED_SCOPES[:1]})
    found = operator.doctor()
    assert found["token of Beta"]["state"] == "failed"
    lacking = "lacks the scopes data.records:write, schema.bases:read"
    assert lacking in found["token of Beta"]["detail"]
    assert (found["client Acme"]["state"], found["client Beta"]["state"]) == ("ok", "skipped")

    sandbox.accept_tokens({DEFAULT: ALL_SCOPES})
    found = operator.doctor()
    assert "not accepted by Airtable" in found["token of Beta"]["detail"]


def test_where_each_has_its_own_none_is_needed_for_all(operator: Operator) -> None:
    operator.env["AIRTABLE_API_KEY"] = ""
    operator.env["AIRTABLE_KEY"] = DEFAULT
    operator("tokens", "set", "--client", operator.id_of("Acme"), "--env", "AIRTABLE_KEY")
    code, said = operator("run", "--client", operator.id_of("Acme"))
    assert code == 0, said
    found = operator.doctor()
    assert found["Airtable token"]["state"] == "ok"
    assert found["client Acme"]["state"] == "ok"
    # Only the one that has none is told so.
    code, said = operator("run")
    assert (code, "AIRTABLE_API_KEY is not set" in said) == (2, True)
    assert operator("tokens", "list")[0] == 1
    # And no sandbox is started that would be sent a real token.
    operator.env["AIRTABLE_ENDPOINT_URL"] = ""
    code, said = operator("up")
    assert (code, "Clients have Airtable tokens of their own" in said) == (2, True)
