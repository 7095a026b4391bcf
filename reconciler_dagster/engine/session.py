"""What one run of one client works with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

from sqlalchemy import Engine, text

from reconciler_dagster.airtable.base import Base
from reconciler_dagster.config import Settings
from reconciler_dagster.core.binding import BoundMap, bind
from reconciler_dagster.core.fields import LEADS, FieldMap
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres import bindings
from reconciler_dagster.postgres.bucket import Bucket
from reconciler_dagster.postgres.clients import Client, directory, leads_columns
from reconciler_dagster.postgres.connection import writing

Purpose = Literal["delta", "manual", "audit", "great_sync"]

SCHEMA_KEPT = timedelta(days=1)


@dataclass
class Counts:
    """What a run did. Records, but for ``airtable_calls``: calls sent on the wire."""

    airtable_calls: int = 0
    pulled: int = 0
    local_writes: int = 0
    remote_writes: int = 0
    conflicts: int = 0
    quarantined: int = 0
    deletions: int = 0
    deletions_pending: int = 0

    def add(self, other: Counts) -> None:
        """Add another part of the same run."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass
class Session:
    """One client, one run id, and the doors to both sides.

    ``mapping_is_fresh``: Airtable's metadata was read in this very run.
    """

    settings: Settings
    engine: Engine
    client: Client
    run_id: str
    purpose: Purpose
    dry_run: bool = False
    counts: Counts = field(default_factory=Counts)

    @cached_property
    def base(self) -> Base:
        """The client's base, behind the shared call budget."""
        return self.another_base()

    def another_base(self) -> Base:
        """A further door to the base, for another thread; its calls count for this session."""
        bucket = Bucket(
            self.engine,
            self.client.base_id,
            purpose=self.purpose,
            urgent=self.purpose in ("delta", "manual"),
            calls_per_second=self.settings.calls_per_second,
        )
        opened = Base(self.settings, self.client.base_id, bucket)
        self._bases.append(opened)
        return opened

    @contextmanager
    def borrowed_base(self) -> Iterator[Base]:
        """A door to the base that nobody else uses within the block; its connection is kept."""
        try:
            opened = self._idle.pop()
        except IndexError:
            opened = self.another_base()
        try:
            yield opened
        finally:
            self._idle.append(opened)

    @property
    def calls(self) -> int:
        """Calls sent on the wire so far."""
        return sum(base.transport.calls for base in self._bases)

    @cached_property
    def users(self) -> Directory:
        """The portal's users, as of the start of the run."""
        with self.engine.connect() as connection:
            return directory(connection)

    @cached_property
    def began(self) -> datetime:
        """When the session was first asked, on Postgres' clock. What is due then is due for the
        whole run: a cell that became so between two steps would be dropped by one of them.
        """
        with self.engine.connect() as connection:
            moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment

    @property
    def overlap(self) -> timedelta:
        """How far a delta reads back behind its cursor."""
        return timedelta(minutes=self.settings.overlap_minutes)

    mapping_is_fresh: bool = False
    # Cells that Airtable refused as forbidden, by column.
    forbidden: Counter[str] = field(default_factory=Counter)
    _bases: list[Base] = field(default_factory=list)
    _idle: list[Base] = field(default_factory=list)
    _table_id: str = ""
    _bound: BoundMap | None = None

    @property
    def bound(self) -> BoundMap:
        """The mapping as checked for this run."""
        if self._bound is None:
            self.check_mapping()
        assert self._bound is not None
        return self._bound

    @property
    def fields(self) -> FieldMap:
        """The fields in use."""
        return self.bound.fields

    @property
    def table_id(self) -> str:
        """The id of the leads table."""
        self.bound  # noqa: B018 - checks the mapping on first use
        return self._table_id

    def check_mapping(self, *, force: bool = False) -> BoundMap:
        """Hold the field map against Airtable's metadata and Postgres' catalogue.

        The metadata is read once a day, or now with ``force``: a quiet run stays at one call. While
        a field is stopped every run reads it, so that what a person mends is seen at once.
        Baselines of fields that are bound anew are dropped: they are met as if for the first time.
        """
        client_id = self.client.id
        with self.engine.connect() as connection:
            columns = leads_columns(connection)
            before = bindings.remembered(connection, client_id)
            table = bindings.table(connection, client_id, self.settings.airtable_leads_table)
        fresh = table is not None and datetime.now(UTC) - table[1] < SCHEMA_KEPT
        mended = set(before) == set(LEADS.columns) and not any(b.problem for b in before.values())
        if table is not None and fresh and not force and mended:
            listed = [b.as_field() for b in before.values() if b.field_id and b.type]
            self._table_id = table[0]
            checked = bind(LEADS, listed, columns, before)
            if checked.bindings == tuple(before[c] for c in LEADS.columns) and not checked.changed:
                self._bound = checked
                return checked
        schema = self.base.schema(table[0] if table else None)
        self.mapping_is_fresh = True
        checked = bind(LEADS, schema.fields, columns, before)
        if self.dry_run:
            self._table_id, self._bound = schema.id, checked
            return checked
        with self.engine.connect() as connection, writing(connection):
            # Windows are listed side by side: only one of them meets a change for the first time.
            bindings.lock(connection, client_id)
            checked = bind(
                LEADS, schema.fields, columns, bindings.remembered(connection, client_id)
            )
            bindings.remember(
                connection,
                client_id,
                schema.id,
                self.settings.airtable_leads_table,
                checked.bindings,
            )
            if checked.changed:
                bindings.forget_agreement(connection, client_id, checked.changed)
        self._table_id, self._bound = schema.id, checked
        return checked
