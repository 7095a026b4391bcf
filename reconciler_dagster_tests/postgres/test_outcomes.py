"""How runs ended: told right, and without reading all that is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.month import USED_UP
from reconciler_dagster.notices import heartbeat
from reconciler_dagster.notices.observe import observe
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.postgres import calls, outcomes, requests, runs
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.adopted import ADOPT, add_clients

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLIENTS = 5
# What one question may read of all rows that are kept, per client.
ROWS_A_CLIENT = 12
AGED = """
    INSERT INTO reconciler.run_summary (client_id, run_id, purpose, scope, state, started_at,
        finished_at, findings, counts)
    SELECT c.id, gen_random_uuid()::text, p, 'changed', 'succeeded', t, t + interval '2 s',
        '{"unanswered": 0, "dry_run": false}', '{"airtable_calls": 1}'
    FROM clients c, unnest(ARRAY['delta', 'audit']) AS p,
        generate_series(now() - interval '400 h', now() - interval '1 min', interval '1 h') AS t
"""


@pytest.fixture
def portal(portal_db: str) -> Iterator[Engine]:
    """A portal of a few clients, all adopted."""
    own = engine(portal_db)
    with own.begin() as connection:
        add_clients(connection, CLIENTS)
        connection.execute(text(ADOPT))
    yield own
    own.dispose()


def ended(connection: Connection, name: str, state: str = "succeeded", **more: Any) -> None:
    """A run of a client has ended. ``ago``: so many hours."""
    ago = more.pop("ago", 0)
    values = {"purpose": "delta", "message": None, "findings": "{}", "scope": "changed"} | more
    connection.execute(
        text(
            "INSERT INTO reconciler.run_summary (client_id, run_id, purpose, scope, state, "
            "started_at, finished_at, message, findings) "
            "SELECT id, gen_random_uuid()::text, :purpose, :scope, :state, :at, :at, :message, "
            "CAST(:findings AS jsonb) FROM clients WHERE company_name = :name"
        ),
        {**values, "name": name, "state": state, "at": NOW - timedelta(hours=ago)},
    )


def ids(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT company_name, id::text FROM clients"))
    return {row[0]: row[1] for row in rows}


def test_the_last_success_is_the_newest_of_any_purpose_that_wrote(portal: Engine) -> None:
    with portal.begin() as connection:
        ended(connection, "Client 1", ago=5)
        ended(connection, "Client 1", ago=3, purpose="audit")
        ended(connection, "Client 1", ago=1, findings='{"dry_run": true}')
        ended(connection, "Client 1", "failed", ago=0, message="no")
        of = ids(connection)["Client 1"]
        assert outcomes.last_successes(connection) == {of: NOW - timedelta(hours=3)}
        deltas = outcomes.last_successes(connection, outcomes.DELTAS)
        assert deltas == {of: NOW - timedelta(hours=5)}


def test_the_last_refusal_is_that_of_its_message_and_of_late(portal: Engine) -> None:
    with portal.begin() as connection:
        ended(connection, "Client 1", "failed", ago=9, message="used up, long ago")
        ended(connection, "Client 2", "failed", ago=2, message="used up: no call is left")
        ended(connection, "Client 2", "failed", ago=1, message="something else")
        since = NOW - timedelta(hours=5)
        found = outcomes.last_refusals(connection, since, "used up%")
        assert found == {ids(connection)["Client 2"]: NOW - timedelta(hours=2)}


@pytest.mark.parametrize(("success", "paused"), [(3, True), (1, False)])
def test_a_workspace_is_paused_until_somebody_hears_of_calls_again(
    portal: Engine, success: int, paused: bool
) -> None:
    with portal.begin() as connection:
        ended(connection, "Client 1", "failed", ago=2, message=f"{USED_UP} and so on")
        ended(connection, "Client 2", ago=success, purpose="audit")
        for counted in (True, False):
            (month,) = calls.months(connection, Settings(), NOW, counted=counted)
            assert month.paused is paused


def test_unanswered_writes_are_those_of_the_latest_delta(portal: Engine) -> None:
    with portal.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
        hours = (NOW - now) / timedelta(hours=1)
        for name, ago, count in (("Client 1", 2, 3), ("Client 1", 1, 0), ("Client 2", 2, 4)):
            ended(connection, name, ago=ago + hours, findings=f'{{"unanswered": {count}}}')
        ended(connection, "Client 2", ago=1 + hours, findings="{}", purpose="audit")
        ended(connection, "Client 3", ago=30 + hours, findings='{"unanswered": 7}')
        assert runs.unanswered(connection) == [("Client 2", 4)]


@dataclass
class Reads:
    """Rows that a transaction has read of the engine's tables, whether they were of use or not."""

    connection: Connection

    def of(self, ask: Callable[[Connection], object]) -> int:
        """By one question."""
        before = self._so_far()
        ask(self.connection)
        return self._so_far() - before

    def _so_far(self) -> int:
        found: int = self.connection.execute(
            text(
                "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint "
                "FROM pg_stat_xact_user_tables WHERE relname IN ('run_summary', 'call_log')"
            )
        ).scalar_one()
        return found


QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "unanswered": runs.unanswered,
    "started": runs.started,
    "successes": outcomes.last_successes,
    "heartbeat": heartbeat.successes,
    "notices": lambda c: observe(c, Settings(), NoticeSettings(), datetime.now(UTC)),
    "refusals": lambda c: outcomes.last_refusals(c, NOW - timedelta(days=30), "used up%"),
    "months": lambda c: calls.months(c, Settings(), datetime.now(UTC), counted=False),
    "just synced": lambda c: requests.just_synced(c, 60),
    "summaries": lambda c: runs.summaries(c, "no such run"),
    "start": lambda c: runs.start(
        c, ids(c)["Client 1"], "a new run", "delta", "changed", answers_requests=True
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_asked_all_the_time_does_not_read_what_is_kept_for_months(
    portal: Engine, question: str
) -> None:
    with portal.begin() as connection:
        connection.execute(text(AGED))
    with portal.begin() as connection:
        connection.execute(text("ANALYZE reconciler.run_summary"))
        kept = connection.execute(text("SELECT count(*) FROM reconciler.run_summary")).scalar_one()
    # What audits have found is told for a day: twice, all runs of that day.
    allowed = ROWS_A_CLIENT * CLIENTS + (2 * 24 * 2 * CLIENTS if question == "notices" else 0)
    assert kept > 5 * allowed
    with portal.begin() as connection:
        assert Reads(connection).of(QUESTIONS[question]) <= allowed
