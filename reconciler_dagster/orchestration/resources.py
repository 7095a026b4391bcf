"""The one resource: the client of a run, locked for as long as the run's process lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.airtable.errors import AirtableError
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.engine.session import Counts, Purpose, Session
from reconciler_dagster.postgres import runs
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import ClientBusy, LeaseLost, client_lock

PURPOSE_TAG = "reconciler/purpose"
# How long a run waits for another one that writes for the same client.
PATIENCE_SECONDS = 600.0
# Failures whose message is written for a person.
EXPLAINED = (ConfigurationError, AirtableError, ClientBusy, LeaseLost)


class ClientRun:
    """Opens the session of a run's client on first use, under the client's lock."""

    def __init__(self, settings: Settings, run_id: str, purpose: Purpose, held: ExitStack) -> None:
        self.settings, self.run_id, self.purpose = settings, run_id, purpose
        self._held = held
        self._session: Session | None = None

    @property
    def engine(self) -> Engine:
        """The portal's Postgres."""
        return engine(self.settings.require_database_url())

    def session(self, client_id: str, *, dry_run: bool = False) -> Session:
        """The session of this run. Raises ClientBusy where another run does not let go."""
        if self._session is None:
            with self.engine.connect() as connection:
                client = find_client(connection, client_id)
            self._held.enter_context(
                client_lock(self.engine, client.id, self.run_id, PATIENCE_SECONDS)
            )
            self._session = Session(
                self.settings, self.engine, client, self.run_id, self.purpose, dry_run
            )
        return self._session

    @contextmanager
    def step(self, client_id: str, *, dry_run: bool = False) -> Iterator[Session]:
        """One op: its counts go to the run's summary, and so does the reason if it fails."""
        session = self.session(client_id, dry_run=dry_run)
        session.counts = Counts()
        calls_before = session.calls
        try:
            yield session
        except Exception as error:
            self._note_failure(client_id, error)
            if isinstance(error, EXPLAINED):  # the sentence says it all: no stack trace
                raise dg.Failure(str(error), allow_retries=False) from None
            raise
        finally:
            session.counts.airtable_calls = session.calls - calls_before
            with self.engine.begin() as connection:
                runs.add_counts(connection, client_id, self.run_id, asdict(session.counts))

    def _note_failure(self, client_id: str, error: Exception) -> None:
        with self.engine.begin() as connection:
            runs.finish(
                connection, client_id, self.run_id, state="failed", message=str(error)[:2000]
            )
            if isinstance(error, ConfigurationError):
                runs.add_findings(connection, client_id, self.run_id, {"misconfigured": True})


@dg.resource(description="The client of this run, locked against every other writing run.")
def client_run(context: dg.InitResourceContext) -> Iterator[ClientRun]:
    """Settings come from the environment: no secret is ever part of a run's config."""
    run = context.run
    purpose = (run.tags if run else {}).get(PURPOSE_TAG, "delta")
    with ExitStack() as held:
        yield ClientRun(Settings.load(), run.run_id if run else "", purpose, held)  # type: ignore[arg-type]
