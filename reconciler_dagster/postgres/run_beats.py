"""Signs of life of runs on other machines: a broker knows what it has handed out, and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres.connection import at_once
from reconciler_dagster.processes import has_ended

RUN_BEAT_SECONDS = 5.0
# Two signs have not come.
SILENT_SECONDS = 2 * RUN_BEAT_SECONDS
_AWAY = (SQLAlchemyError, ConfigurationError)


@contextmanager
def beating(portal: Engine, run_id: str, process: str) -> Iterator[None]:
    """Give signs of life for the length of the block; while Postgres is away, none."""
    over = threading.Event()

    def beat() -> None:
        while True:
            with suppress(*_AWAY), at_once(portal) as connection:
                note(connection, run_id, process)
            if over.wait(RUN_BEAT_SECONDS):
                return

    with at_once(portal) as connection:
        note(connection, run_id, process)
    thread = threading.Thread(target=beat, name=f"beat of {run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(RUN_BEAT_SECONDS)
        with suppress(*_AWAY), at_once(portal) as connection:
            forget(connection, run_id)


def note(connection: Connection, run_id: str, process: str) -> None:
    """One sign of life of a run."""
    connection.execute(
        text(
            "INSERT INTO reconciler.run_beat (run_id, process) VALUES (:run_id, :process) "
            "ON CONFLICT (run_id) DO UPDATE SET process = excluded.process, "
            "seen_at = clock_timestamp()"
        ),
        {"run_id": run_id, "process": process},
    )


@dataclass(frozen=True)
class Beat:
    """``process``: as in `processes.this_process`; ``silent``: seconds since its last sign."""

    process: str
    silent: float


def last(connection: Connection, run_id: str) -> Beat | None:
    """The last sign of life of a run; None where there is none to be seen."""
    row = connection.execute(
        text(
            "SELECT process, extract(epoch FROM clock_timestamp() - seen_at) "
            "FROM reconciler.run_beat WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    ).one_or_none()
    return None if row is None else Beat(row[0], float(row[1]))


def is_silent(portal: Engine, run_id: str) -> bool:
    """Whether the process of a run is gone. Waits for the signs that would come if it were not."""
    before = None
    while True:
        with portal.connect() as connection:
            beat = last(connection, run_id)
        if beat is None or beat.silent > SILENT_SECONDS or has_ended(beat.process):
            return True
        if before is not None and beat.silent < before:
            return False
        before = beat.silent
        time.sleep(RUN_BEAT_SECONDS / 5)


def forget(connection: Connection, run_id: str) -> None:
    """It has ended; with it go those of runs that nobody has taken leave of."""
    connection.execute(
        text(
            "DELETE FROM reconciler.run_beat WHERE run_id = :run_id "
            "OR seen_at < clock_timestamp() - interval '1 day'"
        ),
        {"run_id": run_id},
    )
