"""What is remembered of a client's mapping, and whether that still says all: Airtable's metadata
need not be read then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from reconciler_dagster.core.binding import bind
from reconciler_dagster.core.bound import Binding, BoundMap
from reconciler_dagster.core.pairs import Column
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.postgres import bindings
from reconciler_dagster.postgres.bindings import Bound
from reconciler_dagster.postgres.catalogue import columns_of

KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Remembered:
    """``bound``: where the rows were found last, and ``bindings`` by column; ``configured``: what
    the Airtable table is called in the definition. ``columns``: those of the table in Postgres, as
    they are now.
    """

    configured: str
    bound: Bound | None
    bindings: Mapping[str, Binding]
    columns: Sequence[Column]

    @property
    def is_named(self) -> bool:
        """Whether the definition names the same table as then."""
        return self.bound is not None and self.bound.configured_name == self.configured

    def as_it_is(self, own: SyncMap, base_id: str, kept: timedelta) -> BoundMap | None:
        """The mapping, where nothing has changed since the metadata was read, no field is stopped,
        and that is no longer ago than ``kept``; else None.
        """
        if self.bound is None or not self.is_named or self.bound.place.base_id != base_id:
            return None
        whole = set(self.bindings) == set(own.fields.columns)
        whole = whole and not any(binding.problem for binding in self.bindings.values())
        if not whole or datetime.now(UTC) - self.bound.read_at >= kept:
            return None
        listed = [field for binding in self.bindings.values() for field in binding.as_fields()]
        checked = bind(own, listed, self.columns, self.bindings)
        unchanged = checked.bindings == tuple(self.bindings[c] for c in own.fields.columns)
        return checked if unchanged and not checked.changed else None


def load(connection: Connection, pair: Pair, configured: str) -> Remembered:
    """Raises ConfigurationError where a column that the engine needs is missing."""
    columns = columns_of(connection, pair.table)
    before = bindings.remembered(connection, pair)
    return Remembered(configured, bindings.bound(connection, pair), before, columns)
