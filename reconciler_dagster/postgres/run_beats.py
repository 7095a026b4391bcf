"""Signs of life of runs on other machines: a broker knows what it has handed out, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres.connection import at_once

BEAT_SECONDS = 5.0
_AWAY = (SQLAlchemyError, ConfigurationError)


@contextmanager
def beating(portal: Engine, run_id: str, process: str) -> Iterator[None]:
    """Give signs of life for the length of the block; while Postgres is away, none."""
    over = threading.Event()

    def beat() -> None:
        while True:
            with suppress(*_AWAY), at_once(portal) as connection:
                note(connection, run_id, process)
            if over.wait(BEAT_SECONDS):
                return

    with at_once(portal) as connection:
        note(connection, run_id, process)
    thread = threading.Thread(target=beat, name=f"beat of {run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(BEAT_SECONDS)
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


def silent_for(connection: Connection, run_id: str) -> float | None:
    """Seconds since the last sign of life; None where there is none to be seen."""
    seconds = connection.execute(
        text(
            "SELECT extract(epoch FROM clock_timestamp() - seen_at) FROM reconciler.run_beat "
            "WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    ).scalar()
    return None if seconds is None else float(seconds)


def forget(connection: Connection, run_id: str) -> None:
    """It has ended; with it go those of runs that nobody has taken leave of."""
    connection.execute(
        text(
            "DELETE FROM reconciler.run_beat WHERE run_id = :run_id "
            "OR seen_at < clock_timestamp() - interval '1 day'"
        ),
        {"run_id": run_id},
    )
