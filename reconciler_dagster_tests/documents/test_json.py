"""docs/reference/json.md is what the commands print. WRITE_REFERENCE=1 writes it anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler_dagster_tests.documents.rooms import ROOT
from reconciler_dagster_tests.program import reconciler
from reconciler_dagster_tests.world import World, world

PAGE = ROOT / "docs" / "reference" / "json.md"
HEAD = """<!-- Written by the test documents/test_json.py with WRITE_REFERENCE=1. -->

# What commands print

The keys that each command prints with `--json`, and what kind of value each has. A key whose name
is a column, a sync or the like stands as `<name>`. `run`, `great-sync` and `audit` print the same.
"""
# In the order of the page. {record} is a lead that has been synced.
COMMANDS = (
    "run --dry-run",
    "run",
    "adopt",
    "status",
    "status --storage",
    "history {record}",
    "conflicts",
    "quarantine list",
    "quarantine retry",
    "deletions list",
    "pause --client {client}",
    "resume --client {client}",
    "tokens list",
    "notify list",
    "map show",
    "doctor",
    "migrate --dry-run",
    "migrate",
)
# Where the keys are names, not words of ours.
BY_NAME = {
    *("to_postgres", "to_airtable", "conflicts", "differing_fields", "held_back", "syncs"),
    *("refused_in_postgres", "refused_in_airtable"),
}


def shape(value: Any, key: str = "") -> Any:
    """A value with its kinds in place of what it holds; of a list the first one."""
    if isinstance(value, dict):
        if key in BY_NAME:
            return {"<name>": shape(next(iter(value.values())))} if value else {}
        return {name: shape(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "number", float: "number", str: "text"}
    return kinds[type(value)]


@pytest.fixture(scope="module")
def printed(
    postgres_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """By command, the shape of what it printed: of a client with something of everything."""
    url = postgres_server.create_database("printed", template=migrated_template)
    folder = tmp_path_factory.mktemp("printed")
    with world(url, leads=12) as here:
        here.sync()
        record = trouble(here)
        here.sync()
        here.update(record, notes="again")
        env = os.environ | {
            "DATABASE_URL": url,
            "AIRTABLE_API_KEY": here.sandbox.token,
            "AIRTABLE_ENDPOINT_URL": here.sandbox.url,
            "PORTAL_JWT_SECRET": "0123456789" * 4,
            "RECONCILER_STATE_DIR": str(folder),
            "RECONCILER_MONTHLY_CALLS": "100000",
        }
        found = {}
        for command in COMMANDS:
            line = command.format(record=record, client=here.client.id).split()
            done = reconciler(*line, "--json", env=env, cwd=folder)
            assert done.stdout, f"{command}: {done.stderr}"
            found[command] = shape(json.loads(done.stdout))
        yield found
        here.engine.dispose()


def trouble(here: World) -> str:
    """A cell that is refused, an absence that waits, edits on both sides, of which one loses;
    returns a record.
    """
    first, second, third, *_ = sorted(here.sandbox.records())
    here.sandbox.edit(second, {"Phone": "1" * 30})
    here.sandbox.edit(first, {"First Name": "Ada"})
    here.update(first, first_name="Eve")
    here.sql(
        "INSERT INTO reconciler.tombstone (client_id, record_id, lead_id, created_time, state, "
        "missing_since, listings, run_id, looked_at, reason, sync) SELECT client_id, record_id, "
        "lead_id, created_time, 'awaiting_approval', now(), 2, 'a run', now(), 'too many', sync "
        "FROM reconciler.baseline WHERE record_id = :id",
        id=third,
    )
    return first


def page(printed: dict[str, Any]) -> str:
    """The text of the page."""
    parts = [HEAD]
    for command, one in printed.items():
        name = command.format(record="RECORD", client="ID")
        parts.append(f"## {name}\n\n```json\n{json.dumps(one, indent=2)}\n```\n")
    return "\n".join(parts)


def test_the_page_is_what_commands_print(printed: dict[str, Any]) -> None:
    told = page(printed)
    if os.environ.get("WRITE_REFERENCE"):
        Path(PAGE).write_text(told)
    assert PAGE.read_text() == told, "run it with WRITE_REFERENCE=1"


def test_a_shape_has_kinds_and_no_values() -> None:
    told = {"a": [{"b": 1, "c": None}], "conflicts": {"notes": 3}, "d": []}
    assert shape(told) == {
        "a": [{"b": "number", "c": "null"}],
        "conflicts": {"<name>": "number"},
        "d": [],
    }
