"""How long edits took to arrive, as a run sees it while it writes.

Postgres says when a lead was edited, and an answer of Airtable when that has arrived. Of edits in
Airtable nobody says when they were made, only that it was after the listing before this one: so
that way is told as the longest time that it may have taken.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from reconciler_dagster.postgres.totals import Arrived


@dataclass
class Lags:
    """Of one run. Moments are this process' (``time.monotonic``)."""

    _edited: dict[str, float] = field(default_factory=dict)
    _listed_before: float | None = None
    _arrived: list[Arrived] = field(default_factory=list)
    # Answers come side by side.
    _lock: Lock = field(default_factory=Lock)

    def listed_before(self, seconds_ago: float) -> None:
        """The listing before this run's began so long ago."""
        self._listed_before = time.monotonic() - seconds_ago

    def edited(self, seconds_ago: Mapping[str, float]) -> None:
        """Edits in Postgres have been read: of each record, when its lead's first one was made."""
        now = time.monotonic()
        with self._lock:
            for record_id, ago in seconds_ago.items():
                self._edited[record_id] = min(now - ago, self._edited.get(record_id, now))

    def in_airtable(self, record_ids: Iterable[str]) -> None:
        """Airtable has answered that it holds these."""
        now = time.monotonic()
        with self._lock:
            for record_id in self._edited.keys() & set(record_ids):
                self._arrived.append(Arrived("to_airtable", now - self._edited.pop(record_id)))

    def in_postgres(self, leads: int) -> None:
        """So many leads were written."""
        if self._listed_before is not None and leads:
            lag = time.monotonic() - self._listed_before
            with self._lock:
                self._arrived.append(Arrived("to_postgres", lag, leads))

    def take(self) -> list[Arrived]:
        """What has arrived since this was asked last."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived
