"""The rows of other syncs that fields link to: by key and by record id."""

from __future__ import annotations

from functools import cached_property
from threading import RLock
from typing import Any

from sqlalchemy import Engine

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.table import Table
from reconciler_dagster.core.values import Rows
from reconciler_dagster.postgres.names import quoted, statement

# Those on which nothing is agreed yet among them: at first contact that is all.
_KEYS = """
    SELECT to_jsonb(l.{key}), {record_id} FROM {table} l
    WHERE {may_be_own} AND coalesce({record_id}, '') <> '' AND NOT EXISTS (
        SELECT FROM reconciler.baseline b
        WHERE b.sync = :sync AND b.record_id = {record_id} AND b.client_id <> :client_id)
"""
_ONE = "SELECT to_jsonb(l.{key}) FROM {table} l WHERE {record_id} = :record_id AND {may_be_own}"


def linked_rows(engine: Engine, pair: Pair) -> dict[str, Rows]:
    """The rows that the fields of a pair link to, by the name of their sync."""
    client = pair.client_id
    return {sync: PairRows(engine, client, sync, table) for sync, table in pair.map.linked.items()}


class PairRows:
    """The rows of one sync of a client, read when they are first asked for. A row that is made
    meanwhile is found by its record id; see ``core.values.Rows``.
    """

    def __init__(self, engine: Engine, client_id: str, sync: str, table: Table) -> None:
        self._engine, self._table, self._lock = engine, table, RLock()
        self._pair_keys = {"client_id": client_id, "sync": sync}

    def key_of_record(self, record_id: str) -> Any:
        """The key, as JSON; None where there is no such row."""
        with self._lock:
            if record_id not in self._keys:
                row = self._read(_ONE, record_id=record_id)
                if not row:
                    return None
                self._keys[record_id] = row[0][0]
            return self._keys[record_id]

    def record_of_key(self, key: str) -> str | None:
        """The record id; None where the row has none."""
        with self._lock:
            return self._records.get(key)

    @cached_property
    def _keys(self) -> dict[str, Any]:
        return {record_id: found for found, record_id in self._read(_KEYS)}

    @cached_property
    def _records(self) -> dict[str, str]:
        return {str(found): record_id for record_id, found in self._keys.items()}

    def _read(self, template: str, **parameters: Any) -> list[Any]:
        asked = statement(self._table, template, key=quoted(self._table.key))
        with self._engine.connect() as connection:
            return list(connection.execute(asked, {**self._pair_keys, **parameters}))
