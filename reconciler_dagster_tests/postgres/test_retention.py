"""What is old goes, in small parts; what is needed stays, and so do the totals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.retention import KEPT
from reconciler_dagster.postgres import retention, totals
from reconciler_dagster.postgres.connection import engine

SETTINGS = Settings(RECONCILER_HISTORY_DAYS=30)
CLIENT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def db(portal_db: str) -> Iterator[Engine]:
    own = engine(portal_db)
    retention._ASK_AT.clear()
    yield own
    own.dispose()


def run(db: Engine, statement: str, **parameters: Any) -> None:
    with db.begin() as connection:
        connection.execute(text(statement), {"client": CLIENT, **parameters})


def count(db: Engine, table: str) -> int:
    with db.connect() as connection:
        stored = retention.storage(connection, SETTINGS)
    return next(each.rows for each in stored if each.table == table)


def history(db: Engine, days: int, rows: int) -> None:
    run(
        db,
        "INSERT INTO reconciler.history (run_id, client_id, lead_id, record_id, field, side, "
        "changed_at) SELECT 'r', CAST(:client AS uuid), gen_random_uuid(), 'recA', 'notes', "
        "'airtable', now() - make_interval(days => :days) FROM generate_series(1, :rows)",
        days=days,
        rows=rows,
    )


def summary(db: Engine, days: int, state: str, seconds: int = 1, scope: str = "changed") -> None:
    run(
        db,
        "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, started_at, "
        "finished_at, counts) SELECT gen_random_uuid(), CAST(:client AS uuid), 'delta', :scope, "
        ":state, began, began + make_interval(secs => :seconds), "
        """CAST('{"airtable_calls": 2}' AS jsonb) """
        "FROM (SELECT now() - make_interval(days => :days) AS began) b",
        days=days,
        state=state,
        seconds=seconds,
        scope=scope,
    )


def test_a_part_at_a_time_until_all_that_is_old_is_gone(db: Engine) -> None:
    history(db, 31, 25)
    history(db, 29, 5)
    with patch.object(retention, "ROWS_AT_A_TIME", 10):
        with db.begin() as connection:
            assert retention.prune_part(connection, SETTINGS) == 10
        assert count(db, "history") == 20
        retention.prune(db, SETTINGS)
    assert count(db, "history") == 5


def test_one_process_at_a_time_prunes_and_not_before_the_interval_is_over(db: Engine) -> None:
    def asks_again() -> None:
        """Another process, or this one a minute later."""
        retention._ASK_AT.clear()
        retention.prune_when_due(db, SETTINGS)

    history(db, 31, 5)
    asks_again()
    assert count(db, "history") == 0
    history(db, 31, 5)
    asks_again()
    assert count(db, "history") == 5
    run(db, "UPDATE reconciler.pruned SET at = at - interval '11 minutes'")
    retention.prune_when_due(db, SETTINGS)  # this process has just asked
    assert count(db, "history") == 5
    asks_again()
    assert count(db, "history") == 0


def test_what_is_left_when_the_time_is_up_goes_with_the_next_one(db: Engine) -> None:
    history(db, 31, 25)
    with patch.multiple(retention, ROWS_AT_A_TIME=10, AT_A_TIME_SECONDS=-1.0):
        for left in (15, 5, 0):
            retention.prune_when_due(db, SETTINGS)
            assert count(db, "history") == left
        history(db, 31, 5)
        retention.prune_when_due(db, SETTINGS)
        assert count(db, "history") == 5


def test_nobody_waits_for_what_somebody_else_drops(db: Engine) -> None:
    history(db, 31, 3)
    with db.begin() as other:
        other.execute(text("SELECT FROM reconciler.history LIMIT 1 FOR UPDATE"))
        retention.prune(db, SETTINGS)
        assert count(db, "history") == 1


def test_the_last_word_and_the_last_success_of_a_client_stay(db: Engine) -> None:
    for days, state in ((90, "succeeded"), (80, "succeeded"), (70, "failed"), (60, "failed")):
        summary(db, days, state)
    retention.prune(db, SETTINGS)
    with db.connect() as connection:
        left = connection.execute(
            text(
                "SELECT state, extract(day FROM now() - started_at)::int FROM "
                "reconciler.run_summary ORDER BY 2"
            )
        ).all()
    assert [tuple(row) for row in left] == [("failed", 60), ("succeeded", 80)]


def test_glances_go_after_a_day_but_for_the_last_word(db: Engine) -> None:
    for days, scope in ((5, "changed"), (4, "glance"), (3, "glance")):
        summary(db, days, "succeeded", scope=scope)
    retention.prune(db, SETTINGS)
    with db.connect() as connection:
        left = connection.execute(
            text("SELECT scope FROM reconciler.run_summary ORDER BY started_at")
        )
        assert list(left.scalars()) == ["changed", "glance"]
        shown = retention.storage(connection, SETTINGS)
    assert next(each.days for each in shown if each.table == "run_summary") == 30


def test_what_was_counted_once_stays_counted(db: Engine) -> None:
    for days in range(100, 40, -10):
        summary(db, days, "succeeded", seconds=days)
    retention.prune(db, SETTINGS)
    retention.prune(db, SETTINGS)
    assert count(db, "run_summary") == 1
    with db.begin() as connection:
        totals.count(connection)
        found = {(t.name, t.labels.get("le")): t.value for t in totals.load(connection)}
    assert found[totals.RUNS, None] == 6
    assert found[totals.CALLS, None] == 12
    assert found[totals.SECONDS, None] == 100 + 90 + 80 + 70 + 60 + 50
    assert (found[totals.BUCKET, 60], found[totals.BUCKET, 120]) == (2, 6)
    assert (totals.BUCKET, 30) not in found


def test_every_table_is_shown_with_its_size_and_how_long_it_is_kept(db: Engine) -> None:
    history(db, 5, 3)
    with db.connect() as connection:
        stored = {each.table: each for each in retention.storage(connection, SETTINGS)}
        tables = connection.execute(
            text("SELECT count(*) FROM pg_tables WHERE schemaname = 'reconciler'")
        ).scalar_one()
    assert len(stored) == tables - 1  # but for Alembic's
    assert (stored["history"].rows, stored["history"].days) == (3, 30)
    assert stored["history"].oldest is not None
    assert stored["baseline"].days is None
    assert {kept.table for kept in KEPT} <= stored.keys()


def test_each_look_for_what_is_old_has_an_index(db: Engine) -> None:
    """Else a table of millions would be read as a whole each time."""
    with db.connect() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        for kept in KEPT:
            plan = connection.execute(
                text(
                    f"EXPLAIN SELECT ctid FROM reconciler.{kept.table} t WHERE {kept.by} < now() "  # noqa: S608
                    f"- interval '1 day' AND {kept.where} LIMIT 1000"
                )
            ).scalars()
            told = "\n".join(plan)
            assert "Index Scan" in told, f"{kept.table}: {told}"
