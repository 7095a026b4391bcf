"""A look at a table that no client of ours has yet: its metadata and its first page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from reconciler_dagster.airtable.base import Base
from reconciler_dagster.config import Settings
from reconciler_dagster.core.source import Record, TableSchema


class _Now(NamedTuple):
    began: float


class _Alone:
    """The budget of a command that makes two calls: no table in Postgres is asked."""

    rank = 0

    def take(self) -> _Now:
        return _Now(time.monotonic())

    def arrived_late(self, slot: _Now, delay: float) -> _Now:
        return slot

    def lock_out(self, seconds: float, reason: str) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Look:
    """``records``: up to a hundred, cells by field id."""

    schema: TableSchema
    records: list[Record]


def look_at(settings: Settings, base_id: str, table: str) -> Look:
    """Two calls. Raises ConfigurationError where token, base or table are wrong."""
    base = Base(settings, base_id, _Alone())
    schema = base.schema(table)
    page = next(base.created_between(schema.id, [field.id for field in schema.fields]), [])
    return Look(schema, page)
