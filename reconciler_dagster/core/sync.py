"""What is in force: one sync for one base, and one sync of one client. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.links import Link, Links
from reconciler_dagster.core.people import UserEmail
from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.table import Table


@dataclass(frozen=True)
class Derived:
    """A column that Postgres works out. ``sql``: an expression; the row goes by the name ``row``.
    ``after``: syncs whose writes work it out anew. ``fills``: only where the column is empty.
    """

    column: str
    sql: str
    after: tuple[str, ...] = ()
    fills: bool = False

    @property
    def name(self) -> str:
        """What stands for it in quarantine, where a row of its column may be as well."""
        return f"(derived {self.column})"


# The sync of the portal's own table: its API, its pages, and reports from before there were others
# are about it.
MAIN = "leads"


@dataclass(frozen=True)
class SyncMap:
    """A definition with the overrides of one base in it. ``airtable``: name or id of the table.

    ``linked``: the Postgres tables of the syncs that fields link to. ``every``: how often its delta
    runs by schedule. ``derived``: columns that Postgres works out; ``events``: statements that note
    rows elsewhere, which they find as ``written``; ``constants``: what a new row holds beside its
    fields; ``others``: the other syncs in force.
    """

    name: str
    airtable: str
    table: Table
    fields: FieldMap
    linked: Mapping[str, Table] = field(default_factory=dict)
    every: timedelta = timedelta(minutes=15)
    derived: tuple[Derived, ...] = ()
    events: tuple[str, ...] = ()
    constants: Mapping[str, str | int | bool] = field(default_factory=dict)
    others: Mapping[str, SyncMap] = field(default_factory=dict)

    @property
    def is_followed(self) -> bool:
        """Whether anything is to be worked out when its rows are written."""
        after = (self.name in one.after for other in self.others.values() for one in other.derived)
        return bool(self.derived or self.events) or any(after)

    @property
    def event_names(self) -> list[str]:
        """What stands for each of the events in quarantine."""
        return [f"(event {number})" for number in range(1, len(self.events) + 1)]

    @property
    def followed_by(self) -> list[str]:
        """What may stand in quarantine of a row beside its own cells."""
        return [*(one.name for one in self.derived), *self.event_names]

    def links_to(self, sync: str) -> list[str]:
        """The columns that link to one row of another sync."""
        links = ((m.column, m.codec) for m in self.fields)
        return [column for column, codec in links if isinstance(codec, Link) and codec.to == sync]

    def among(self, maps: Mapping[str, SyncMap]) -> SyncMap:
        """The same, with the other syncs that are in force."""
        return replace(self, others={n: own for n, own in maps.items() if n != self.name})

    @cached_property
    def blanks(self) -> Row:
        """What a new row's columns hold where nobody knows better."""
        blanks = {mapped.column: mapped.codec.blank for mapped in self.fields}
        return {column: blank for column, blank in blanks.items() if blank is not None}

    @property
    def names_users(self) -> bool:
        """Whether a field holds users of the portal."""
        return any(isinstance(mapped.codec, UserEmail) for mapped in self.fields)

    def found_in(self, airtable: str) -> SyncMap:
        """The same with another Airtable table."""
        return replace(self, airtable=airtable)

    def linking(self, tables: Mapping[str, Table]) -> SyncMap:
        """The same, with those tables that its fields link to."""
        wanted = {
            mapped.codec.to for mapped in self.fields if isinstance(mapped.codec, Link | Links)
        }
        return replace(self, linked={name: tables[name] for name in sorted(wanted)})


@dataclass(frozen=True)
class Pair:
    """One sync of one client: what cursor, baseline, quarantine and all other memory is about."""

    client_id: str
    map: SyncMap

    @property
    def sync(self) -> str:
        """The sync's name."""
        return self.map.name

    @property
    def links(self) -> dict[str, str]:
        """Columns that link to rows, each with the sync whose rows they are."""
        fields = self.map.fields
        return {m.column: m.codec.to for m in fields if isinstance(m.codec, Link | Links)}

    @property
    def table(self) -> Table:
        """The Postgres side."""
        return self.map.table

    @property
    def keys(self) -> dict[str, str]:
        """The parameters ``:client_id`` and ``:sync`` of a statement."""
        return {"client_id": self.client_id, "sync": self.map.name}
