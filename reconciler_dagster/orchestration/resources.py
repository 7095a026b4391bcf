"""The one resource: the client of a run, locked for as long as the run's process lives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import dagster as dg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from reconciler_dagster import tracing
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.adoption import NotAdopted
from reconciler_dagster.core.due import is_due
from reconciler_dagster.core.findings import Findings
from reconciler_dagster.core.guard import Unfit, problems
from reconciler_dagster.core.place import PlaceChanged
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.engine.adopted import syncs_of
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.session import Purpose, Session
from reconciler_dagster.postgres import bindings, cursor, deployments, runs
from reconciler_dagster.postgres.clients import find_client
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import ClientBusy, LeaseLost, client_lock
from reconciler_dagster.postgres.retention import prune_when_due
from reconciler_dagster.postgres.staging import StagingLost
from reconciler_dagster.telling import told

log = logging.getLogger("reconciler_dagster.runs")

PURPOSE_TAG = "reconciler/purpose"
# How long a run waits for another one that writes for the same client.
RUN_PATIENCE_SECONDS = 600.0
# Failures whose message is written for a person.
EXPLAINED = (
    ConfigurationError,
    Unfit,
    NotAdopted,
    SourceError,
    ClientBusy,
    LeaseLost,
    PlaceChanged,
    StagingLost,
)
NOTHING_LISTED = (
    "An earlier step of this run has left nothing to go on with: re-execute all steps together."
)


class ClientRun:
    """Opens the session of a run's client on first use, under the client's lock."""

    def __init__(self, settings: Settings, run_id: str, purpose: Purpose, held: ExitStack) -> None:
        self.settings, self.run_id, self.purpose = settings, run_id, purpose
        self._held = held
        self._sessions: dict[str, list[Session]] = {}
        self._left_out: dict[str, list[str]] = {}
        self._counts: dict[str, dict[str, Counts]] = {}

    @property
    def engine(self) -> Engine:
        """The portal's Postgres."""
        return engine(self.settings.require_database_url())

    def start(
        self,
        client_id: str,
        scope: str,
        *,
        dry_run: bool = False,
        answers_requests: bool = False,
        findings: Findings | None = None,
    ) -> None:
        """Open the client's summary. One that is not to be had (unknown, or busy) gets a summary
        that says so; another run may be at work for it, which must not be disturbed.
        """
        scope = f"{scope}{' (dry run)' if dry_run else ''}"
        try:
            sessions = self.sessions(client_id, dry_run=dry_run)
            guard = [str(one) for session in sessions for one in problems(session.guard)]
        except EXPLAINED as error:
            noted: Findings = {**(findings or {}), **_findings_of(error)}
            with self.engine.begin() as connection:
                runs.refuse(
                    connection, client_id, self.run_id, self.purpose, scope, told(error), noted
                )
            raise dg.Failure(told(error), allow_retries=False) from None
        with self.engine.begin() as connection:
            runs.start(
                connection,
                client_id,
                self.run_id,
                self.purpose,
                scope,
                answers_requests=answers_requests,
            )
            if crowd := deployments.crowd(connection):
                guard.append(crowd)
            noted = {
                "guard": list(dict.fromkeys(guard)),
                "new_syncs": self.left_out(client_id),
                **(findings or {}),
            }
            runs.add_findings(connection, client_id, self.run_id, noted)

    @contextmanager
    def step(
        self, client_id: str, *, dry_run: bool = False, name: str = "step"
    ) -> Iterator[list[Session]]:
        """One op over every sync of the client, parents first: its counts go to the run's summary,
        and so does the reason if it fails. ``name``: in the run's trace.
        """
        with (
            tracing.step(name, self.run_id, client_id=client_id, purpose=self.purpose),
            self._step(client_id, dry_run) as sessions,
        ):
            yield sessions

    @contextmanager
    def _step(self, client_id: str, dry_run: bool) -> Iterator[list[Session]]:
        try:
            sessions = self.sessions(client_id, dry_run=dry_run)
            calls_before = {session.map.name: session.calls for session in sessions}
            for session in sessions:
                session.counts = Counts()
            try:
                yield sessions
            finally:
                total, so_far = Counts(), self._counts.setdefault(client_id, {})
                for session in sessions:
                    session.counts.airtable_calls = session.calls - calls_before[session.map.name]
                    total.add(session.counts)
                    so_far.setdefault(session.map.name, Counts()).add(session.counts)
                with self.engine.begin() as connection:
                    runs.add_counts(connection, client_id, self.run_id, asdict(total))
        except Exception as error:
            nothing = type(error) is LookupError  # of staging: another run's listing is too old
            why = NOTHING_LISTED if nothing else told(error, f"step failures of run {self.run_id}")
            if client_id in self._sessions:
                self._note_failure(client_id, why, _findings_of(error))
            if nothing or isinstance(error, EXPLAINED):  # the sentence says it all: no stack trace
                raise dg.Failure(why, allow_retries=False) from None
            raise

    def sessions(self, client_id: str, *, dry_run: bool) -> list[Session]:
        """One for each sync of the client that may be written, under its lock. Raises NotAdopted
        where all are new.
        """
        if client_id not in self._sessions:
            with self.engine.connect() as connection:
                client = find_client(connection, client_id)
            chosen, self._left_out[client_id] = syncs_of(self.settings, self.engine, client)
            if not chosen:
                raise NotAdopted(" ".join(self._left_out[client_id]))
            self._lock(client.id)
            common = (self.run_id, self.purpose, dry_run)
            self._sessions[client_id] = [
                Session(self.settings, self.engine, client, sync, *common) for sync in chosen
            ]
        return self._sessions[client_id]

    def left_out(self, client_id: str) -> list[str]:
        """Which syncs of the client this run leaves alone since they are new, in a sentence."""
        return self._left_out.get(client_id, [])

    def counts(self, client_id: str) -> dict[str, Counts]:
        """By sync, what the steps of this process have done for the client."""
        return self._counts.get(client_id, {})

    def keep_due(self, client_id: str) -> None:
        """Leave out syncs whose time has not come. Those that run as often as the schedule, or were
        never met, are always due.
        """
        sessions = self._sessions[client_id]
        with self.engine.connect() as connection:
            ages = {s.map.name: cursor.age(connection, s.pair) for s in sessions}
        due = [s for s in sessions if is_due(s.map.every, ages[s.map.name])]
        self._sessions[client_id] = due or sessions[:1]

    def _lock(self, client_id: str) -> None:
        """Hold the client until the run ends. Raises ClientBusy where another does not let go."""
        seconds = self.settings.lease_seconds
        lock = client_lock(
            self.engine, client_id, self.run_id, RUN_PATIENCE_SECONDS, seconds=seconds
        )
        self._held.enter_context(lock)

    def _note_failure(self, client_id: str, why: str, findings: Findings) -> None:
        with self.engine.begin() as connection:
            runs.finish(connection, client_id, self.run_id, state="failed", message=why[:2000])
            runs.add_findings(connection, client_id, self.run_id, findings)


def moved(sessions: list[Session]) -> list[str]:
    """What to tell of other bases or tables, each once."""
    return list(dict.fromkeys(what for session in sessions for what in _moved(session)))


def _moved(session: Session) -> list[str]:
    """What to tell of another base or table: once, by whichever run comes first."""
    if session.dry_run:
        return [session.moved] if session.moved else []
    with session.engine.begin() as connection:
        return bindings.tell(connection, session.pair, session.run_id)


def _findings_of(error: Exception) -> Findings:
    return {"misconfigured": True} if isinstance(error, ConfigurationError) else {}


@dg.resource(description="The client of this run, locked against every other writing run.")
def client_run(context: dg.InitResourceContext) -> Iterator[ClientRun]:
    """Settings come from the environment: no secret is ever part of a run's config."""
    run = context.run
    purpose = (run.tags if run else {}).get(PURPOSE_TAG, "delta")
    settings = Settings.load()
    with ExitStack() as held:
        yield ClientRun(settings, run.run_id if run else "", purpose, held)  # type: ignore[arg-type]
    # Nobody waits for the client any more. Where a listener runs, it has done so.
    try:
        prune_when_due(engine(settings.require_database_url()), settings)
    except (SQLAlchemyError, ConfigurationError) as error:
        log.warning("old rows could not be deleted: %s", told(error))
