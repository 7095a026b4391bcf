"""The watcher: looks every few seconds, in a thread of a process that is not Dagster's daemon."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.notices import heartbeat
from reconciler_dagster.notices.dagster import Dagster
from reconciler_dagster.notices.keeper import Keeper
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.postgres import retention
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import is_current
from reconciler_dagster.telling import told

log = logging.getLogger("reconciler_dagster.notices")

LOOK_SECONDS = 15.0


class Watcher:
    """Looks, calls the outside monitor, and prunes what is old. Nothing that goes wrong ends it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; what is being told just now is told."""
        self._ended.set()
        self._thread.join(heartbeat.HEARTBEAT_TIMEOUT)

    def _run(self) -> None:
        while not self._ended.is_set():
            look(self._keeper)
            _carefully(
                "what is old was not pruned",
                lambda: retention.prune_when_due(self._keeper.portal, self._keeper.settings),
            )
            self._ended.wait(LOOK_SECONDS)


def look(keeper: Keeper) -> None:
    """One look, and the outside monitor."""
    keeper.look()
    _carefully(
        "the outside monitor was not called",
        lambda: heartbeat.beat(keeper.portal, keeper.notices),
    )


def tell_of_failure(settings: Settings, notices: NoticeSettings, of_dagster: str = "") -> None:
    """The one look of a process that cannot start. ``of_dagster``: what hinders, where that is
    Dagster's storage or home. Raises nothing.
    """

    def seen(now: datetime) -> Dagster:
        return Dagster(now, problem=of_dagster)

    if not of_dagster and _is_not_migrated(settings):
        return  # nobody could keep a notice, and who started this is told
    with suppress(ConfigurationError):
        Keeper(settings, notices, seen if of_dagster else None).look()


def _is_not_migrated(settings: Settings) -> bool:
    try:
        return not is_current(engine(settings.require_database_url()))
    except (ConfigurationError, SQLAlchemyError):
        return False


def _carefully(what: str, do: Callable[[], None]) -> None:
    try:
        do()
    except Exception as error:
        log.warning("%s: %s", what, told(error))
