"""The listener: hears that a sync is asked for, and submits the run at once.

One process with one listening connection for all clients. It imports the definitions once, so a
run is created without a code server, and launched without waiting for the queue where that has
room. Whatever becomes of it, the sensor finds every request it has not taken. A thread of it looks
what is wrong, and tells those who are to be told: also that Dagster's daemon is dead.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import click
import dagster as dg
import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from reconciler_dagster.config import (
    ConfigurationError,
    Settings,
    environment_name,
    starts_by_itself,
)
from reconciler_dagster.core.doorbell import is_due
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.notices.watcher import Watcher, tell_of_failure
from reconciler_dagster.orchestration import doorbell, internals, seen
from reconciler_dagster.orchestration.instance import dagster_instance
from reconciler_dagster.orchestration.launcher import WatchedRunLauncher
from reconciler_dagster.orchestration.submission import Submission, by_sensor
from reconciler_dagster.orchestration.warm import client
from reconciler_dagster.orchestration.warm.protocol import UNREADABLE, fingerprint
from reconciler_dagster.outlets import guard
from reconciler_dagster.postgres import listener as sign
from reconciler_dagster.postgres import requests
from reconciler_dagster.postgres.connection import engine, listening
from reconciler_dagster.postgres.portal import open_portal
from reconciler_dagster.processes import this_process
from reconciler_dagster.telling import told

CHANNEL = "reconciler_manual_sync"
# Between two signs of life. With each it sends itself a notice, to know that they arrive.
LISTENER_BEAT_SECONDS = 15.0
# Between two looks where notices do not arrive.
DEAF_SECONDS = 1.0
# A connection that is dead without having been closed hears nothing either.
CONNECT_ANEW_SECONDS = 60.0
_LONGEST_PAUSE = 30.0

log = logging.getLogger("reconciler_dagster.listener")


class Ended(BaseException):
    """Somebody asked for the end."""


class _EndBetween:
    """Ends the process by `Ended` on SIGTERM or Ctrl-C, but never in the middle of submitting."""

    def __init__(self) -> None:
        self._asked = self._waiting = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._waiting:
            raise Ended

    @contextmanager
    def while_waiting(self) -> Iterator[None]:
        """In the block it may end at any moment."""
        self._waiting = True
        try:
            if self._asked:
                raise Ended
            yield
        finally:
            self._waiting = False


class Listener:
    """Waits for notices, and submits."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, end: _EndBetween) -> None:
        launcher = instance.run_launcher
        if type(launcher) is internals.DefaultRunLauncher:
            raise ConfigurationError(
                "The Dagster home has another run launcher: copy the project's dagster.yaml there."
            )
        self._settings, self._instance = settings, instance
        self._code = _code_now()
        self._process = this_process()
        self._submission = Submission(instance, "sync", by_sensor(doorbell.MANUAL_SYNC))
        self._end = end
        self._echo, self._heard = "", False
        self._beat_at = self._edits_at = 0.0

    @property
    def _portal(self) -> Engine:
        return engine(self._settings.require_database_url())

    def run(self) -> None:
        """Listen, and connect again whenever the connection is lost. Ends by `Ended` alone."""
        pause = 0.5
        while True:
            began = time.monotonic()
            try:
                with listening(self._settings.require_database_url(), CHANNEL) as connection:
                    log.info("listening")
                    self._listen(connection)
            except Exception as error:  # Dagster's own kinds among them
                log.warning("connecting again: %s", told(error))
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = 0.5
            with self._end.while_waiting():
                time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def close(self) -> None:
        """Take the sign of life back: it has been ended on purpose."""
        with suppress(SQLAlchemyError, ConfigurationError), self._portal.begin() as connection:
            sign.forget(connection, self._process)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        self._heard, self._echo, self._beat_at = False, "", 0.0
        deaf_until = time.monotonic() + CONNECT_ANEW_SECONDS
        while time.monotonic() < deaf_until:
            if self._heard:
                deaf_until = time.monotonic() + CONNECT_ANEW_SECONDS
            self._begin_anew_if_changed()
            if time.monotonic() >= self._beat_at:
                self._beat()
            self._ring_for_edits()
            self._submit()
            self._wait(connection)

    def _wait(self, connection: psycopg.Connection[Any]) -> None:
        with self._end.while_waiting():
            notices = list(connection.notifies(timeout=self._pause(), stop_after=1))
        if any(notice.payload == self._echo for notice in notices):
            self._echo = ""
            if not self._heard:
                self._heard = True
                self._note()

    def _pause(self) -> float:
        """How long to wait for a notice: until something else is to be done."""
        until = [self._beat_at - time.monotonic()]
        if not self._heard:
            until.append(DEAF_SECONDS)
        if self._settings.on_edit is not None:
            until.append(self._edits_at - time.monotonic())
        return max(0.0, min(until))

    def _beat(self) -> None:
        """Give a sign of life, and send a notice to ourselves over another connection: a pooler
        in transaction mode takes LISTEN as if all was well, and hands on nothing.
        """
        if self._echo:  # the last one has not come
            self._heard = False
        self._echo = f"{os.getpid()} {uuid4()}"
        self._note()
        with self._portal.begin() as connection:
            connection.execute(
                text("SELECT pg_notify(:channel, :echo)"), {"channel": CHANNEL, "echo": self._echo}
            )
        self._beat_at = time.monotonic() + LISTENER_BEAT_SECONDS

    def _note(self) -> None:
        with self._portal.begin() as connection:
            sign.note(connection, self._process, hears=self._heard)

    def _ring_for_edits(self) -> None:
        settle = self._settings.on_edit
        if settle is None or time.monotonic() < self._edits_at:
            return
        with self._portal.begin() as connection:
            for edits in requests.edits(connection):
                if is_due(edits, settle, self._settings.calls_per_second):
                    requests.ask(connection, edits.client_id)
        self._edits_at = time.monotonic() + settle / 4

    def _submit(self) -> None:
        for wanted in doorbell.wanted_runs(self._portal, self._instance):
            try:
                doorbell.submit(self._portal, self._instance, self._submission, wanted)
            except (psycopg.Error, SQLAlchemyError):
                raise
            except Exception:  # one client's must not keep the others waiting
                log.exception("request %s could not be submitted", wanted.request_id)

    def _begin_anew_if_changed(self) -> None:
        """The definitions were read once: where the code has changed, be that of now."""
        code = _code_now()
        if code and code != self._code:
            log.warning("the code has changed: starting again")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _code_now() -> str:
    """Which code lies there; empty while it is being exchanged."""
    try:
        return fingerprint()
    except UNREADABLE:
        return ""


def listen() -> None:
    """Run the listener until SIGTERM or Ctrl-C. Raises ConfigurationError where it cannot start."""
    end = _EndBetween()
    settings, notices = Settings.load(), NoticeSettings.load()
    if not starts_by_itself():
        raise ConfigurationError(
            f"RECONCILER_ENVIRONMENT is {environment_name()}: nothing may start by itself here. "
            "Set it to production where this is the deployment that syncs."
        )
    try:
        open_portal(settings)
    except ConfigurationError:
        tell_of_failure(settings, notices)
        raise
    try:
        with dagster_instance(settings) as instance:
            _serve(Listener(settings, instance, end), settings, notices, instance)
    except ConfigurationError as error:
        tell_of_failure(settings, notices, str(error))
        raise


def _serve(
    listener: Listener, settings: Settings, notices: NoticeSettings, instance: dg.DagsterInstance
) -> None:
    watcher = Watcher(Keeper(settings, notices, partial(seen.look, instance)))
    if isinstance(instance.run_launcher, WatchedRunLauncher):
        _prepare(Path(instance.root_directory))
    watcher.start()
    try:
        listener.run()
    except Ended:
        watcher.end()
        listener.close()


def _prepare(home: Path) -> None:
    """So that the first run is warm too."""
    try:
        client.ensure(home)
    except client.NoWarmProcess as error:
        log.warning("no warm process can be had: %s", error)


def _main() -> int:
    guard()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    try:
        listen()
    except ConfigurationError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
