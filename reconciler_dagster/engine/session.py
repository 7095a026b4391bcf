"""What one run of one client works with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.config import Settings
from reconciler_dagster.core import staging_key
from reconciler_dagster.core.binding import bind
from reconciler_dagster.core.bound import BoundMap
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.guard import Facts
from reconciler_dagster.core.place import Place, PlaceChanged, moved
from reconciler_dagster.core.source import Source
from reconciler_dagster.core.sync import Pair, SyncMap
from reconciler_dagster.core.values import Directory
from reconciler_dagster.engine import remembered
from reconciler_dagster.engine.counts import Counts
from reconciler_dagster.engine.doors import Doors
from reconciler_dagster.engine.lag import Lags
from reconciler_dagster.postgres import adoption, bindings, cursor, guard, quarantine, record_ids
from reconciler_dagster.postgres.clients import Client, base_of, directory
from reconciler_dagster.postgres.connection import Writer, at_once, writing
from reconciler_dagster.postgres.encoding import Repertoire, repertoire
from reconciler_dagster.postgres.lock import client_lock, require_may_write, require_time

Purpose = Literal["delta", "manual", "audit", "great_sync", "rehearsal"]

# Of a person's own sync, where a field or option is missed: it may just have been added.
_SCHEMA_KEPT_BY_HAND = timedelta(minutes=1)
# How long a run that takes turns waits for those that go first.
TURN_PATIENCE_SECONDS = 3600.0


@dataclass
class Session:
    """One sync of one client, one run id, and the doors to both sides.

    ``map``: the sync as it is in force for the client's base. ``mapping_is_fresh``: Airtable's
    metadata was read in this very run.
    """

    settings: Settings
    engine: Engine
    client: Client
    map: SyncMap
    run_id: str
    purpose: Purpose
    dry_run: bool = False
    counts: Counts = field(default_factory=Counts)
    lags: Lags = field(default_factory=Lags)

    @cached_property
    def _doors(self) -> Doors:
        urgent = self.purpose in ("delta", "manual")
        return Doors(
            self.settings, self.engine, self.client, self.purpose, urgent, self._require_may_write
        )

    @cached_property
    def pair(self) -> Pair:
        """What all memory of the run is about."""
        return Pair(self.client.id, self.map)

    @property
    def key(self) -> str:
        """What the run stages under."""
        return staging_key.of_run(self.run_id, self.map.name)

    @cached_property
    def base(self) -> Source:
        """The client's base, behind the shared call budget."""
        return self._doors.open()

    @property
    def calls(self) -> int:
        """Calls sent on the wire so far."""
        return self._doors.calls

    def _require_may_write(self) -> None:
        """Just before a call that writes: nobody has taken the consent back since the call was
        planned, and the lease lasts. That comes last: Postgres may take long to answer.
        """
        with at_once(self.engine) as connection:
            adoption.require(connection, self.client.id, self.map.name)
        require_time(self.client.id, self.run_id)

    def borrowed_base(self, rank: int = 0) -> AbstractContextManager[Source]:
        """A door to the base that nobody else uses within the block; its connection is kept.
        ``rank``: its calls go before those of a higher one.
        """
        return self._doors.borrowed(rank)

    def import_client(self) -> None:
        """See ``Doors``."""
        self._doors.import_client()

    @cached_property
    def guard(self) -> Facts:
        """What may keep edits from being noted, as of the start of the run. Raises core.guard.Unfit
        where nothing can be carried over, and core.adoption.NotAdopted where nothing may be.
        """
        with self.engine.connect() as connection:
            if not self.dry_run:
                adoption.require(connection, self.client.id, self.map.name)
            return guard.require(connection, self.pair)

    @cached_property
    def users(self) -> Directory:
        """The portal's users, as of the start of the run."""
        with self.engine.connect() as connection:
            return directory(connection, self.pair)

    @cached_property
    def writer(self) -> Writer:
        """What kind of write this session's are, for the portal's triggers. Without a cursor the
        two sides have not met in full yet.
        """
        with self.engine.connect() as connection:
            if cursor.load(connection, self.pair) is None:
                return "first_contact"
        return "repair" if self.purpose in ("audit", "great_sync") else "delta"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction of this run's writes. Raises LeaseLost unless the run holds the client,
        and core.adoption.NotAdopted unless the client may be written; neither changes before the
        transaction has ended. Each call that writes to Airtable is planned in one of these.
        """
        with self.engine.connect() as connection, writing(connection, self.writer):
            require_may_write(connection, self.client.id, self.map.name, self.run_id)
            yield connection

    def mend_record_ids(self) -> None:
        """Once a run: see ``postgres.record_ids``. The client must be held."""
        if self.dry_run or self._ids_are_mended:
            return
        with self.writing() as connection:
            record_ids.mend(connection, self.pair)
        self._ids_are_mended = True

    @property
    def repertoire(self) -> Repertoire:
        """What the portal's database can store."""
        return repertoire(self.engine)

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
    # What to tell where this run found another base or table than it remembers.
    moved: str | None = None
    # Cells that Airtable refused as forbidden, by column.
    forbidden: Counter[str] = field(default_factory=Counter)
    _table_id: str = ""
    _ids_are_mended: bool = False
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
        """The id of the Airtable table."""
        self.bound  # noqa: B018 - checks the mapping on first use
        return self._table_id

    @property
    def notes(self) -> list[str]:
        """What the mapping check found that is no fault of a field, in plain words."""
        return [*self.bound.notes, *self.bound.unfilled, *([self.moved] if self.moved else ())]

    @property
    def place(self) -> Place:
        """The base and the table of this run."""
        return Place(self.client.base_id, self.table_id)

    def check_mapping(self, *, force: bool = False, anew: bool = False) -> BoundMap:
        """Hold the field map against Airtable's metadata and Postgres' catalogue.

        The metadata is read once a day, or now with ``force``: a quiet run stays at one call. While
        a field is stopped every run reads it, so that what a person mends is seen at once; while an
        optional one is not there, or a cell waits for an option, every manual sync does.
        Baselines of fields that are bound anew are dropped: they are met as if for the first time.

        So is everything where the client has another base or table than what is remembered is
        about (``moved``). A run notices that when it begins, or when its listing was refused
        (``anew``: what it has read is read again); at any other time PlaceChanged ends it.
        """
        pair, fit = self.pair, self.repertoire.fit
        self.guard  # noqa: B018 - every run looks before it reads
        with self.engine.connect() as connection:
            memory = remembered.load(connection, pair, fit(self.map.airtable))
            waits = self.purpose == "manual" and bool(quarantine.awaiting_options(connection, pair))
        known, before, columns = memory.bound, memory.bindings, memory.columns
        if known is not None and not self.dry_run:
            self._require_same(known.place, anew)
        lacking = self.purpose == "manual" and any(not b.field_id for b in before.values())
        kept = _SCHEMA_KEPT_BY_HAND if lacking or waits else remembered.KEPT
        checked = None if force else memory.as_it_is(self.map, self.client.base_id, kept)
        if checked is not None:
            assert known is not None
            self._table_id, self._bound = known.place.table_id, checked
            return checked
        followed = memory.is_named and known and known.place.base_id in (None, self.client.base_id)
        with self.borrowed_base() as base:
            table_id = known.place.table_id if known and followed else None
            schema = base.schema(self.map.airtable, table_id).named(fit)
        self.mapping_is_fresh = True
        place = Place(self.client.base_id, schema.id)
        notice = moved(known.place, place) if known else None
        if notice:
            self._require_same(place, anew)
        if self.dry_run:
            self.moved = notice
            self._table_id = schema.id
            self._bound = bind(self.map, schema.fields, columns, {} if notice else before)
            return self._bound
        with (
            self._held() if notice else nullcontext(),
            self.engine.connect() as connection,
            writing(connection),
        ):
            # Windows are listed side by side: only one of them meets a change for the first time.
            bindings.lock(connection, pair)
            if notice:
                self._forget(connection, place)
            checked = bind(self.map, schema.fields, columns, bindings.remembered(connection, pair))
            bindings.remember(connection, pair, place, memory.configured, checked.bindings)
            if checked.changed:
                bindings.forget_agreement(connection, pair, checked.changed)
        self._table_id, self._bound = schema.id, checked
        return checked

    def _require_same(self, place: Place, anew: bool) -> None:
        if self._bound is not None and not anew and self.place != place:
            raise PlaceChanged(
                f"{self.client.name} has another base or table than when the run began; it wrote "
                "nothing more. The next run meets it."
            )

    def turn(self) -> AbstractContextManager[None]:
        """Hold the client for a while, of a run over windows, which lets others go first."""
        return client_lock(
            self.engine,
            self.client.id,
            self.run_id,
            TURN_PATIENCE_SECONDS,
            yielding=True,
            seconds=self.settings.lease_seconds,
        )

    def _held(self) -> AbstractContextManager[None]:
        """Hold the client, which a delta does from its beginning to its end."""
        return nullcontext() if self.purpose in ("delta", "manual") else self.turn()

    def _forget(self, connection: Connection, place: Place) -> None:
        """Drop what describes another place, unless somebody has done so already."""
        if base_of(connection, self.client.id) != self.client.base_id:
            raise PlaceChanged(
                f"{self.client.name} was given another base while the run began: run again."
            )
        known = bindings.bound(connection, self.pair)
        if known is not None and (notice := moved(known.place, place)):
            bindings.forget_place(connection, self.pair, notice)
            self.moved = notice
