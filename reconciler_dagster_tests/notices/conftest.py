"""A portal with clients, and a keeper whose notices go to real receivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.notices.receivers import (
    Endpoint,
    Mailbox,
    endpoint,
    mailbox,
    notice_settings,
)
from reconciler_dagster_tests.notices.stage import Stage
from reconciler_dagster_tests.orchestration.conftest import instance, point_at  # noqa: F401
from reconciler_dagster_tests.world import world

REFUSED = "AIRTABLE_API_KEY is not accepted by Airtable: set it to a valid personal access token."


@pytest.fixture(autouse=True)
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere nobody is told."""
    monkeypatch.setenv("RECONCILER_ENVIRONMENT", "production")


class Office:
    """Clients with runs that end as a test says, and what those who are told were told."""

    def __init__(self, url: str, web: Endpoint, box: Mailbox) -> None:
        self.url, self.web, self.box = url, web, box
        self.engine: Engine = engine(url)

    def settings(self, **more: Any) -> Settings:
        return Settings(
            database_url=self.url,  # type: ignore[arg-type]
            RECONCILER_PORTAL_URL="https://portal.example",
            RECONCILER_DAGSTER_URL="https://dagster.example",
            **more,
        )

    def keeper(self, settings: Settings | None = None, **more: Any) -> Keeper:
        """As it comes up after a restart."""
        return Keeper(settings or self.settings(), notice_settings(self.web, self.box, **more))

    def sql(self, statement: str, **parameters: Any) -> Any:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return result.all() if result.returns_rows else result.rowcount

    def clients(self, *names: str, adopted: bool = True) -> list[str]:
        """Their ids."""
        ids = [
            str(
                self.sql(
                    "INSERT INTO clients (company_name, airtable_base_id) VALUES (:name, :base) "
                    "RETURNING id",
                    name=name,
                    base=f"app{uuid4().hex[:14]}",
                )[0][0]
            )
            for name in names
        ]
        if adopted:
            self.sql(
                "INSERT INTO reconciler.adoption (client_id, state, changed_by, changed_at) "
                "SELECT CAST(unnest(CAST(:ids AS text[])) AS uuid), 'adopted', 'the test', "
                "now() - interval '30 days'",
                ids=ids,
            )
        return ids

    def ran(self, client_id: str, message: str | None = None, **more: Any) -> None:
        """A run ended: well, or with a message."""
        given = {"purpose": "delta", "ago": "0 s", "findings": "{}", "counts": "{}"} | more
        self.sql(
            "INSERT INTO reconciler.run_summary (run_id, client_id, purpose, scope, state, "
            "started_at, finished_at, message, findings, counts) VALUES (:run, :client, :purpose, "
            "'changed', :state, clock_timestamp() - CAST(:ago AS interval) - interval '1 s', "
            "clock_timestamp() - CAST(:ago AS interval), :message, CAST(:findings AS jsonb), "
            "CAST(:counts AS jsonb))",
            run=str(uuid4()),
            client=client_id,
            state="succeeded" if message is None else "failed",
            message=message,
            **given,
        )

    def titles(self) -> list[str]:
        """Of the mails so far."""
        return [subject.removeprefix("[Reconciler] ") for subject in self.box.subjects]


@pytest.fixture
def office(portal_db: str, state_folder: Any) -> Iterator[Office]:
    with endpoint() as web, mailbox() as box:
        own = Office(portal_db, web, box)
        yield own
        own.engine.dispose()
    (state_folder / "outage.json").unlink(missing_ok=True)


@pytest.fixture
def stage(
    portal_db: str,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,  # noqa: F811
) -> Iterator[Stage]:
    with world(portal_db, leads=120) as here, endpoint() as web, mailbox() as box:
        point_at(monkeypatch, portal_db, here.sandbox)
        monkeypatch.setenv("RECONCILER_RETRY_SECONDS", "0.01")
        monkeypatch.setenv("RECONCILER_LOCKOUT_SECONDS", "0.05")
        own = Stage(here, instance, web, box, monkeypatch)
        own.run()
        assert own.look() == []
        yield own
        here.engine.dispose()
