"""Records read again just before they are written, a hundred ahead of the batch being sent."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from reconciler_dagster import tracing
from reconciler_dagster.core.source import Record
from reconciler_dagster.engine.send import FRESH_SECONDS
from reconciler_dagster.engine.session import Session


@dataclass(frozen=True)
class Reading:
    """Up to 100 records as Airtable has them now. ``field_ids``: the fields that were asked for;
    ``at``: when (``time.monotonic``).
    """

    record_ids: list[str]
    records: list[Record]
    field_ids: list[str]
    at: float


def read_now(session: Session, record_ids: list[str]) -> Reading:
    """Read records."""
    field_ids = session.bound.field_ids
    with session.borrowed_base() as base:
        records = base.read(session.table_id, record_ids, field_ids)
    return Reading(record_ids, records, field_ids, time.monotonic())


class Ahead:
    """The hundred after the one that is being sent, read in a thread of its own."""

    def __init__(self, session: Session, pool: ThreadPoolExecutor) -> None:
        self._session, self._pool = session, pool
        self._reading: Future[Reading] | None = None

    def begin(self, record_ids: list[str]) -> None:
        """Read on."""
        if record_ids:
            self._reading = self._pool.submit(tracing.carried(read_now), self._session, record_ids)

    def take(self, record_ids: list[str]) -> Reading:
        """What was read ahead; read now where nothing was, or it is old by now."""
        reading, self._reading = self._reading, None
        if reading is not None:
            read = reading.result()
            if time.monotonic() - read.at <= FRESH_SECONDS / 2:
                return read
        return read_now(self._session, record_ids)
