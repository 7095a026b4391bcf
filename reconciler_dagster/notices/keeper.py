"""One look: what is wrong now, what becomes of the notices, and what is to be told.

Any number of processes may look; one at a time does. What a look makes of the notices and what is
to be told of them is one transaction; the telling comes after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import Settings, starts_by_itself
from reconciler_dagster.core.guard import Unfit
from reconciler_dagster.notices import dagster, decide, store
from reconciler_dagster.notices.channels import Send, channels
from reconciler_dagster.notices.decide import Cause, Event
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.lines import Lines
from reconciler_dagster.notices.month import month_causes
from reconciler_dagster.notices.observe import observe
from reconciler_dagster.notices.outage import Outage
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.words import Surroundings, message, severity_of
from reconciler_dagster.postgres.adoption import adopted_clients
from reconciler_dagster.postgres.calls import months
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listener import SILENT_AFTER_SECONDS, silent_since
from reconciler_dagster.telling import told

log = logging.getLogger("reconciler_dagster.notices")

# What one look tells a channel at the most; the rest comes with the next ones.
_AT_A_TIME = 20
# How long a look waits until all channels have been told.
TELLING_SECONDS = 10.0
SILENT_AFTER = timedelta(seconds=SILENT_AFTER_SECONDS)
# Kinds that a look at Dagster finds; where nobody could look, they stay as they are.
_OF_DAGSTER = frozenset({"daemon_dead", "schedule_still", "dagster_storage"})


@dataclass
class Keeper:
    """``look_at_dagster``: gives what is to be seen of Dagster; None where this process cannot."""

    settings: Settings
    notices: NoticeSettings
    look_at_dagster: Callable[[datetime], dagster.Dagster] | None = None
    ways: dict[str, Send] = field(init=False)
    outage: Outage = field(init=False)
    lines: Lines = field(init=False, default_factory=Lines)

    def __post_init__(self) -> None:
        self.ways = dict(channels(self.notices).items())
        self.outage = Outage(self)

    @property
    def portal(self) -> Engine:
        """The portal's Postgres."""
        return engine(self.settings.require_database_url())

    @property
    def around(self) -> Surroundings:
        """Where people look."""
        of = self.settings
        return Surroundings(of.dagster_ui_url, of.portal_url, self.notices.lead_data)

    def look(self) -> None:
        """Look, and tell. What goes wrong with Postgres is told too; nothing is raised.

        Where nothing starts by itself nobody is told either: a copy of a deployment has its
        credentials and its notices, and would tell its people of what is not theirs.
        """
        if not starts_by_itself():
            return
        try:
            self._look()
        except Exception as error:
            log.warning("what is wrong could not be looked up: %s", told(error))
            self.outage.look(told(error))
        else:
            self.outage.look(None)
            self._tell()

    def _look(self) -> None:
        with self.portal.begin() as connection:
            if not store.has_turn(connection):
                return
            now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            causes, unseen = self._causes(connection, now)
            before = store.load(connection)
            step = decide.step(causes, before, now, self.notices.rules, unseen)
            store.end_of_other_channels(connection, self.ways)
            for event in store.save(connection, before, step):
                self._have_told(connection, event, now)

    def _causes(self, connection: Connection, now: datetime) -> tuple[list[Cause], set[str]]:
        """What is wrong, and the kinds that could not be looked at."""
        unseen = {"postgres_down"}  # that one is kept elsewhere
        try:
            causes = observe(connection, self.settings, self.notices, now)
            clients, _ = adopted_clients(connection)
            causes += month_causes(months(connection, self.settings, now), clients, now)
        except Unfit as error:
            causes = [Cause("edits_unnoted", "", "", now, str(error))]
            unseen |= {kind.name for kind in KINDS.values() if not kind.of_all}
            unseen -= {"edits_unnoted"}
        silent = silent_since(connection)
        listener = [] if silent is None else [Cause("listener_silent", "", "", silent)]
        if self.look_at_dagster is None:
            return causes + listener, unseen | _OF_DAGSTER
        seen = dagster.continued(self.look_at_dagster(now), dagster.noted(connection))
        dagster.note(connection, seen)
        if seen.problem is not None:
            unseen |= _OF_DAGSTER - {"dagster_storage"}
        elif seen.is_too_early:
            unseen.add("daemon_dead")
        # So that a listener has its time too to come up after everything was down.
        if silent and seen.silent_for(silent.timestamp()) <= SILENT_AFTER:
            unseen.add("listener_silent")
        return [*causes, *listener, *dagster.causes_of(seen)], unseen

    def _have_told(self, connection: Connection, event: Event, now: datetime) -> None:
        severity = severity_of(event.notice.kind)
        said = message(event, now, self.around)
        log.warning("%s", said.title)
        for route in self.notices.routes():
            due = route.due(severity, now)
            if due is not None:
                store.enqueue(connection, route.channel, said, now, due)

    def _tell(self) -> None:
        """All channels at once."""
        self.tell({name: partial(self._tell_one, name, send) for name, send in self.ways.items()})

    def tell(self, tasks: Mapping[str, Callable[[], None]]) -> None:
        """Carry out what is to be done for each channel; one that hangs holds nobody up for longer
        than ``TELLING_SECONDS``.
        """
        self.lines.run(tasks, TELLING_SECONDS)

    def _tell_one(self, name: str, send: Send) -> None:
        """What does not get taken is left alone until the next look."""
        for _ in range(_AT_A_TIME):
            with self.portal.begin() as connection:
                delivery = store.claim(connection, name)
            if delivery is None:
                return
            answer = send(delivery.message, f"{delivery.id}")
            with self.portal.begin() as connection:
                store.note_answer(connection, delivery.id, taken=answer.taken, answer=answer.words)
            if not answer.taken:
                log.warning("%s did not take notice %s: %s", name, delivery.id, answer.words)
                return
