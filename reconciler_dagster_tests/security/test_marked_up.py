"""A whole `reconciler up` with a mark in every secret: what its parts say and store has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg

from reconciler_dagster_tests.security.marked import (
    MARKS,
    TOKEN,
    assert_untold,
    environment,
    left_behind,
)
from reconciler_dagster_tests.test_supervisor import Up, eventually, state, up
from reconciler_dagster_tests.world import world

__all__ = ["state", "up"]


def test_up_tells_no_secret(portal_db: str, empty_db: str, up: Callable[..., Up]) -> None:
    """One client's run fails by its base, the other's by a trigger with all secrets in its text:
    in Dagster's run worker, its events, its logs and the request that was answered.
    """
    with world(portal_db, leads=5, token=TOKEN) as acme:
        acme.sql(
            "INSERT INTO clients (company_name, airtable_base_id) "
            "VALUES ('Lost', 'appNoSuchBase0001')"
        )
        acme.adopt()
        acme.sql(
            "CREATE FUNCTION blurt() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$BEGIN RAISE 'refused, %', '{' '.join(MARKS)}'; END$$"
        )
        acme.sql(
            "CREATE TRIGGER blurt BEFORE INSERT ON reconciler.baseline "
            "FOR EACH ROW EXECUTE FUNCTION blurt()"
        )
        settings = environment(acme, empty_db, Path("set by up"))
        del settings["RECONCILER_STATE_DIR"]
        running = up(**settings)
        running.wait_until_ready()
        acme.sql("INSERT INTO reconciler.manual_sync_request (client_id) SELECT id FROM clients")
        eventually(lambda: not _unanswered(portal_db))
        running.end()
        acme.sql("DROP FUNCTION blurt CASCADE")  # its text is the catalogue's
        everything = running.said() + left_behind(running.state, portal_db, empty_db)
    assert "refused, ***" in everything
    assert_untold(everything)


def _unanswered(url: str) -> bool:
    with psycopg.connect(url) as connection:
        waiting = connection.execute(
            "SELECT FROM reconciler.manual_sync_request WHERE state IN ('pending', 'started')"
        )
        return bool(waiting.fetchall())
