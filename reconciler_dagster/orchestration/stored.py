"""What Dagster keeps, without secrets: events with their errors, ticks, backfills, heartbeats."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import deserialize_value, serialize_value

from reconciler_dagster.redaction import redacted, redacted_values

# The fields of Dagster's records that hold somebody's words. All others are names and numbers, by
# which Dagster finds its way.
_WORDS = {
    "data",  # of JSON metadata
    "description",
    "md_str",
    "message",
    "reason",
    "skip_reason",
    "stack",
    "text",
    "user_message",
}


def without_secrets(storage: DagsterStorage) -> DagsterStorage:
    """The same storage; whatever holds a secret's text is stored without it."""
    for part, names in (
        (storage.event_log_storage, ("store_event", "store_event_batch")),
        (storage.schedule_storage, ("create_tick", "update_tick")),
        (storage.run_storage, ("add_backfill", "update_backfill", "add_daemon_heartbeat")),
    ):
        for name in names:
            setattr(part, name, _struck(getattr(part, name)))
    return storage


def _struck(store: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def stored(record: Any) -> Any:
        if isinstance(record, Sequence) and not hasattr(record, "_fields"):
            return store([clean(one) for one in record])
        return store(clean(record))

    return stored


def clean(record: Any) -> Any:
    """A record of Dagster's without secrets in its words."""
    written = serialize_value(record)
    struck = clean_text(written)
    return record if struck == written else deserialize_value(struck)


def clean_text(written: str) -> str:
    """The same for a record as Dagster writes it."""
    if redacted(written) == written:
        return written
    return json.dumps(_walked(json.loads(written)))


def _walked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: redacted_values(item) if key in _WORDS else _walked(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_walked(item) for item in value]
    return value
