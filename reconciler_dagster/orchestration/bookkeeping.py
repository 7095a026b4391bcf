"""Dagster's bookkeeping of a step, stored together with what follows it: half as many statements a
run.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import dagster as dg
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from reconciler_dagster.orchestration.stored import clean_text

# Nobody waits for one of these, and each is followed by an event that is stored: at once, or when
# the step's own work is done. What a killed run had of them is lost; that it was killed is told by
# others.
BOOKKEEPING = frozenset(
    {
        dg.DagsterEventType.RESOURCE_INIT_STARTED,
        dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
        dg.DagsterEventType.LOGS_CAPTURED,
        dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.STEP_INPUT,
        dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.HANDLED_OUTPUT,
        dg.DagsterEventType.STEP_SUCCESS,
    }
)
# Dagster keeps these in further tables as well, by their number.
_ELSEWHERE_TOO = ASSET_EVENTS | ASSET_CHECK_EVENTS


def store_together(storage: DagsterStorage) -> DagsterStorage:
    """The same storage, in Postgres, which stores no secrets. The order of events stays as it is,
    and each is serialized but once.
    """
    events: Any = storage.event_log_storage
    store = events.store_event
    held: list[dict[str, Any]] = []
    lock = Lock()

    def row_of(event: dg.EventLogEntry) -> dict[str, Any]:
        row: dict[str, Any] = events._event_to_row(event)
        return {**row, "event": clean_text(row["event"])}

    def stored(event: dg.EventLogEntry) -> None:
        kind = event.dagster_event_type
        with lock:
            if kind in BOOKKEEPING:
                held.append(row_of(event))
                return
            alone = kind in _ELSEWHERE_TOO
            rows = list(held) if alone else [*held, row_of(event)]
            if rows:
                with events._connect() as connection:
                    connection.execute(SqlEventLogStorageTable.insert(), rows)
                held.clear()
        if alone:
            store(event)

    events.store_event = stored
    return storage
