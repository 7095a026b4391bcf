"""Every sync of the portal over one base: acts of people on both sides, and runs over all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from reconciler_dagster.core.scope import CHANGED, Scope
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.links import fill_links
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.engine.session import Purpose, Session
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.testing import SandboxClient
from reconciler_dagster.syncs.in_force import maps
from reconciler_dagster_tests.world import World, world

ALL = "campaigns, leads, tasks, blockers, project_status, sms_templates, sms_audit"


class Tables:
    """A client whose syncs are all in force."""

    def __init__(self, acme: World, syncs: str = ALL) -> None:
        self.acme = acme
        acme.settings.syncs = syncs
        upgrade(acme.engine, syncs=self.maps().values())
        self.stopped: list[str] = []

    def maps(self) -> dict[str, SyncMap]:
        return maps(self.acme.settings, self.acme.client.base_id)

    def pair(self, sync: str) -> Pair:
        return Pair(self.acme.client.id, self.maps()[sync])

    def on(self, table: str) -> SandboxClient:
        return self.acme.sandbox.on(table=table)

    def sql(self, statement: str, **parameters: Any) -> Any:
        return self.acme.sql(statement, **parameters)

    def row(self, table: str, record_id: str) -> dict[str, Any]:
        return dict(
            self.acme.value(
                f"SELECT to_jsonb(t) FROM {table} t WHERE airtable_record_id = :r",  # noqa: S608
                r=record_id,
            )
        )

    def sessions(self, purpose: Purpose = "delta") -> list[Session]:
        acme, run_id = self.acme, str(uuid4())
        return [
            Session(acme.settings, acme.engine, acme.client, sync, run_id, purpose)
            for sync in self.maps().values()
        ]

    def sync(self, scope: Scope = CHANGED) -> Counts:
        """One run over all."""
        sessions = self.sessions()
        with client_lock(self.acme.engine, self.acme.client.id, sessions[0].run_id, 5):
            pulls = []
            for session in sessions:
                pulls.append(pull_airtable(session, scope))
                pull_postgres(session)
                diff(session)
            for session in sessions:
                push(session)
            fill_links(sessions)
        self.stopped = [problem for pulled in pulls for problem in pulled.stopped]
        total = Counts()
        for session in sessions:
            session.counts.airtable_calls = session.calls
            total.add(session.counts)
        return total

    def quiet(self) -> tuple[int, int, int]:
        """Calls and writes of a further run."""
        counts = self.sync()
        return counts.airtable_calls, counts.local_writes, counts.remote_writes

    def waiting(self) -> list[tuple[Any, ...]]:
        """What is in quarantine."""
        asked = "SELECT sync, field, direction, reason FROM reconciler.quarantine ORDER BY 1, 2"
        return [tuple(row) for row in self.sql(asked)]


@contextmanager
def tables(url: str, syncs: str = ALL, leads: int = 20) -> Iterator[Tables]:
    with world(url, leads=leads) as acme:
        yield Tables(acme, syncs)
