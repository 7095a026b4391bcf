"""The owner's portal with two clients, adopted from the first look to the last, and taken back.

`OWNER_LEADS=3000` has as many leads a client as the owner's own.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests import windows
from reconciler_dagster_tests.mapping import LEADS
from reconciler_dagster_tests.orchestration.conftest import point_at
from reconciler_dagster_tests.owner.portal import (
    BASES,
    CAMPAIGN_PAGE,
    GONE,
    create_tables,
    owners_portal,
)
from reconciler_dagster_tests.test_cli_attention import call
from reconciler_dagster_tests.test_migrations import catalogue
from reconciler_dagster_tests.world import World

SIZE = int(os.environ.get("OWNER_LEADS", "150"))
OTHER_TABLES = ("campaigns", "clients", "users", "lead_activity_log")


@pytest.fixture
def portal(empty_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with owners_portal(empty_db, "as it is", SIZE, BASES) as here:
        point_at(monkeypatch, empty_db, here.sandbox)
        (tmp_path / "dagster").mkdir()
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
        monkeypatch.chdir(tmp_path)
        yield here


@pytest.fixture
def untouched(postgres_server: PostgresServer) -> Iterator[set[tuple[Any, ...]]]:
    """The catalogue of such a portal that the engine has never seen."""
    own = engine(postgres_server.create_database("untouched"))
    create_tables(own)
    yield catalogue(own)
    own.dispose()
    postgres_server.drop_database("untouched")


def remote(here: World) -> dict[str, dict[str, Any]]:
    return {
        record_id: record["fields"]
        for base in BASES
        for record_id, record in here.sandbox.on(base).records().items()
    }


def changed_remotely(before: dict[str, Any], after: dict[str, Any]) -> Counter[str]:
    return Counter(
        name
        for record_id in before | after
        for name in before[record_id] | after[record_id]
        if before[record_id].get(name) != after[record_id].get(name)
    )


def changed_locally(here: World) -> Counter[str]:
    """By column, how many leads hold something else than what was kept."""
    columns = here.sql(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = 'leads'"
    )
    counts = ", ".join(
        f'count(*) FILTER (WHERE l."{c}" IS DISTINCT FROM k."{c}")' for (c,) in columns
    )
    (row,) = here.sql(f"SELECT {counts} FROM leads l JOIN kept.leads k USING (id)")  # noqa: S608
    return +Counter(dict(zip([c for (c,) in columns], row, strict=True)))


def rows(here: World, table: str) -> list[Any]:
    # When a client was synced last is the engine's to say.
    statement = f"SELECT to_jsonb(t) - 'last_sync_at' FROM {table} t ORDER BY 1"  # noqa: S608
    return list(here.sql(statement))


def promised(reports: list[dict[str, Any]], part: str) -> Counter[str]:
    return sum((Counter(report["change_set"][part]) for report in reports), Counter[str]())


def told(*command: str) -> list[dict[str, Any]]:
    """What a command says of each client."""
    done = call(*command, "--json")
    assert done.stdout, done.stderr
    assert "were foreseen" not in done.stderr, "a first contact that went otherwise than shown"
    return list(json.loads(done.stdout)["clients"])


def test_two_clients_are_adopted_and_nothing_else_happens(
    portal: World, untouched: set[tuple[Any, ...]]
) -> None:
    portal.sql("CREATE SCHEMA kept; CREATE TABLE kept.leads AS TABLE leads")
    others = {table: rows(portal, table) for table in OTHER_TABLES}
    before, page = remote(portal), portal.sql(CAMPAIGN_PAGE)
    active = "SELECT count(*) FROM leads WHERE is_active"
    was_active, were = portal.value(active), portal.value("SELECT count(*) FROM leads")

    shown = told("adopt")
    assert [client["adoption"] for client in shown] == ["new", "new"]
    assert [client["report"]["without_record"] for client in shown] == [GONE, GONE]
    assert all(client["report"]["rows"] for client in shown), "the trigger would tell old news"
    assert changed_locally(portal) == {}
    assert remote(portal) == before
    call("adopt", "--guard-trigger", "sms_activity_logger", "--json")

    adopted = told("adopt", "--approve")
    assert [client["adoption"] for client in adopted] == ["adopted", "adopted"]
    reports = [
        row[0]
        for row in portal.sql(
            "SELECT report FROM reconciler.rehearsal WHERE approved_at IS NOT NULL"
        )
    ]
    after = remote(portal)
    here, there = changed_locally(portal), changed_remotely(before, after)
    assert here == promised(reports, "to_postgres"), "cell by cell, and nothing besides"
    names = {column: LEADS[column].airtable for column in LEADS.columns}
    assert there == Counter({names[c]: n for c, n in promised(reports, "to_airtable").items()})
    assert there["SMS Stop Reason"] > SIZE / 23, "something had to be sent"
    assert here["sms_sent_count"] > SIZE / 6, "the trigger had something to fire at"
    assert {table: rows(portal, table) for table in OTHER_TABLES} == others
    assert rows(portal, "lead_activity_log") == [], "what was long ago is no news"
    new = sum(report["change_set"]["inserts"] for report in reports)
    assert new == 20
    assert portal.value(active) == was_active + new, "nobody was deactivated"
    assert portal.value("SELECT count(*) FROM leads") == were + new
    counts = [tuple(row)[:3] for row in page]
    assert [tuple(row)[:3] for row in portal.sql(CAMPAIGN_PAGE)] == counts

    first = told("run")  # may list once more what the first contact has written
    assert [(c["local_writes"], c["remote_writes"]) for c in first] == [(0, 0), (0, 0)]
    quiet = told("run")
    done = [(c["airtable_calls"], c["local_writes"], c["remote_writes"]) for c in quiet]
    assert done == [(1, 0, 0), (1, 0, 0)]
    with portal.engine.connect() as connection:
        clients = active_clients(connection)
    for portal.client in clients * 3:
        windows.sweep(portal)
    assert portal.sql("SELECT state, count(*) FROM reconciler.tombstone GROUP BY 1") == [
        ("awaiting_approval", 2 * GONE)
    ]
    assert changed_locally(portal) == here
    assert remote(portal) == after
    assert portal.value(active) == was_active + new

    assert call("migrate", "--down").exit_code == 1
    assert call("migrate", "--down", "--yes").exit_code == 0
    assert changed_locally(portal) == here
    assert {table: rows(portal, table) for table in OTHER_TABLES} == others
    portal.sql("DROP SCHEMA kept CASCADE; DROP TABLE first_leads")
    assert catalogue(portal.engine) == untouched
