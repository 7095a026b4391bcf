"""One client in a real portal and a real sandbox, and the engine between them, without Dagster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from sqlalchemy import text

from reconciler_dagster.config import Settings
from reconciler_dagster.core.reading import from_airtable, from_postgres
from reconciler_dagster.core.scope import CHANGED, Scope
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.core.values import Directory
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.glance import shows_nothing
from reconciler_dagster.engine.links import fill_links
from reconciler_dagster.engine.pull import Pulled, pull_airtable, pull_postgres
from reconciler_dagster.engine.push import push
from reconciler_dagster.engine.rounds import Pushed
from reconciler_dagster.engine.session import Purpose, Session
from reconciler_dagster.postgres import bucket
from reconciler_dagster.postgres.clients import Client, active_clients, directory
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import client_lock
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox
from reconciler_dagster.syncs.in_force import leads
from reconciler_dagster_tests.adopted import ADOPT
from reconciler_dagster_tests.mapping import LEADS

# How long one run waits for another: for ever, as a time limit decides no test.
PATIENCE_SECONDS = 600
ANN, BOB = "ann@portal.example", "bob@portal.example"


@dataclass
class Ran:
    """What one run did and found."""

    counts: Counts
    pulled: Pulled
    change_set: ChangeSet
    pushed: Pushed
    session: Session = field(repr=False)


class World:
    """Acts of people on both sides, runs of the engine, and what both sides hold."""

    def __init__(self, url: str, sandbox: SandboxClient) -> None:
        self.sandbox, self.engine = sandbox, engine(url)
        self.settings = Settings(
            airtable_api_key=sandbox.token,
            airtable_endpoint_url=sandbox.url,
            database_url=url,
            RECONCILER_LOCKOUT_SECONDS=0.05,
            RECONCILER_RETRY_SECONDS=0.01,
        )
        # Syncs that every run is over beside the leads, parents first.
        self.beside: Callable[[], list[SyncMap]] = list
        with self.engine.connect() as connection:
            self.client: Client = active_clients(connection)[0]

    def sql(self, statement: str, **parameters: Any) -> Any:
        """A portal user's (or an operator's) statement, in a transaction of its own."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return result.all() if result.returns_rows else result.rowcount

    def adopt(self) -> None:
        """A person says yes to every client that there is."""
        self.sql(ADOPT)

    def value(self, statement: str, **parameters: Any) -> Any:
        """The single value of a query."""
        return self.sql(statement, **parameters)[0][0]

    def lead(self, record_id: str) -> dict[str, Any]:
        """A lead's row as JSON."""
        return dict(
            self.value(
                "SELECT to_jsonb(l) FROM leads l WHERE airtable_record_id = :id", id=record_id
            )
        )

    def update(self, record_id: str, **columns: Any) -> None:
        """A portal edit."""
        names = ", ".join(f"{name} = :{name}" for name in columns)
        statement = f"UPDATE leads SET {names} WHERE airtable_record_id = :id"  # noqa: S608
        self.sql(statement, id=record_id, **columns)

    def user(self, email: str) -> str:
        """A portal user's id."""
        return str(self.value("SELECT id FROM users WHERE email = :email", email=email))

    def cell(self, record_id: str, name: str) -> Any:
        """An Airtable cell; None when empty."""
        return self.sandbox.record(record_id)["fields"].get(name)

    @property
    def map(self) -> SyncMap:
        """How the leads are mapped for this client, by the settings as they are now."""
        return leads(self.settings, self.client.base_id)

    @property
    def pair(self) -> Pair:
        """The client's leads."""
        return Pair(self.client.id, self.map)

    def session(self, run_id: str | None = None, **more: Any) -> Session:
        """A session as a run would open it."""
        run = run_id or str(uuid4())
        return Session(self.settings, self.engine, self.client, self.map, run, "delta", **more)

    def sessions(self, purpose: Purpose = "delta") -> list[Session]:
        """A session for each sync of a run, the leads' first."""
        run_id = str(uuid4())
        return [
            Session(self.settings, self.engine, self.client, own, run_id, purpose)
            for own in (self.map, *self.beside())
        ]

    def sync(self, scope: Scope = CHANGED) -> Ran:
        """One run: pull, diff, push, under the client's lock, each over all syncs."""
        sessions = self.sessions()
        session = sessions[0]
        with client_lock(self.engine, self.client.id, session.run_id, PATIENCE_SECONDS):
            pulled = [pull_airtable(one, scope) for one in sessions]
            for one in sessions:
                pull_postgres(one)
            change_sets = [diff(one) for one in sessions]
            pushed = [push(one) for one in sessions]
            fill_links(sessions)
        total = Counts()
        for one in sessions:
            one.counts.airtable_calls = one.calls
            total.add(one.counts)
        return Ran(total, pulled[0], change_sets[0], pushed[0], session)

    def shows_nothing(self) -> bool:
        """A glance at every sync of a run."""
        return all(map(shows_nothing, self.sessions()))

    @contextmanager
    def underway(self) -> Iterator[None]:
        """A run that has read both sides and planned: the block happens before it pushes."""
        session = self.session()
        with client_lock(self.engine, self.client.id, session.run_id, 0):
            pull_airtable(session, CHANGED)
            pull_postgres(session)
            diff(session)
            yield
            push(session)

    def sides(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Airtable, Postgres and the baseline in canonical values, by record id."""
        with self.engine.connect() as connection:
            users = directory(connection)
        remote = {
            record_id: _canonical(record["fields"], users)
            for record_id, record in self.sandbox.records().items()
        }
        rows = self.sql("SELECT airtable_record_id, to_jsonb(l) FROM leads l")
        local = {row[0]: from_postgres(row[1], LEADS, users)[0] for row in rows}
        agreed = dict(
            tuple(r)
            for r in self.sql(
                "SELECT record_id, fields FROM reconciler.baseline WHERE sync = :sync",
                sync=self.map.name,
            )
        )
        return remote, local, agreed

    def assert_converged(self) -> None:
        """Both sides and the baseline agree on every mapped field."""
        remote, local, agreed = self.sides()
        assert _different(remote, local) == {}
        assert _different(remote, agreed) == {}

    def assert_quiet(self) -> None:
        """The next run makes one call and writes nothing."""
        ran = self.sync()
        assert (ran.counts.airtable_calls, ran.counts.local_writes, ran.counts.remote_writes) == (
            1,
            0,
            0,
        )


def _canonical(cells: dict[str, Any], users: Directory) -> dict[str, Any]:
    by_column = {f.column: cells[f.airtable] for f in LEADS if f.airtable in cells}
    return from_airtable(by_column, LEADS, users)[0]


def _different(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {
            c: (left.get(key, {}).get(c), right.get(key, {}).get(c))
            for c in LEADS.columns
            if left.get(key, {}).get(c) != right.get(key, {}).get(c)
        }
        for key in left.keys() | right.keys()
        if json.dumps(left.get(key), sort_keys=True) != json.dumps(right.get(key), sort_keys=True)
    }


@contextmanager
def world(
    url: str, leads: int = 40, *, limited: bool = False, adopted: bool = True, **sandbox: Any
) -> Iterator[World]:
    """A client with a seeded base and an empty portal.

    ``limited``: with Airtable's rate limit, and a real budget of calls; else without, for speed.
    ``adopted``: a person has said yes.
    """
    with running_sandbox(leads=leads, **sandbox) as running:
        with engine(url).begin() as connection:
            connection.execute(
                text("INSERT INTO clients (company_name, airtable_base_id) VALUES ('Acme', :base)"),
                {"base": running.base_id},
            )
            connection.execute(
                text("INSERT INTO users (email) SELECT unnest(CAST(:emails AS text[]))"),
                {"emails": [ANN, BOB]},
            )
            if adopted:
                connection.execute(text(ADOPT))
        here = World(url, running)
        if limited:
            yield here
            return
        running.switch(calls_per_second_and_base=0, calls_per_second_and_user=0)
        here.settings.calls_per_second = 1000
        with patch.object(bucket, "URGENT_SECONDS", 0.0):
            yield here
