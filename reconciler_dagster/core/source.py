"""What the engine asks of the place that records come from, and what that place can answer.

Another source than Airtable is a class with the verbs of `Source`, which raises these errors
themselves: their texts reach people, those of foreign errors do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from reconciler_dagster.core.pairs import AirtableField

# Records of a page, and of one write.
PAGE = 100
BATCH = 10
# How often a call is tried where the source is out of order, and where it takes no call for now.
ATTEMPTS = 6
LOCKOUTS_BORNE = 20


class SourceError(Exception):
    """An answer that is not data, or none. Its text tells a person. ``reason``: only what the
    source said, for a sentence of the engine's.
    """

    def __init__(self, told: str, reason: str = "") -> None:
        super().__init__(told)
        self.reason = reason


class NotLetIn(SourceError):
    """The source does not know who asks, whatever it is about, until a person does something."""


class Refused(SourceError):
    """Not done, and the same would be refused again; a part of it may be taken."""


class NotAsRemembered(Refused):
    """Refused, perhaps because table or fields are others than the engine remembers."""


class Forbidden(NotAsRemembered):
    """Refused, perhaps because the token may not do it: here, or to this field."""


class OutcomeUnknown(SourceError):
    """No answer that says what was done: a write may or may not have been carried out."""


class NotSent(SourceError):
    """A write that was certainly not carried out. It waited, or would have to: what it is about
    must be read again before it is sent.
    """


class Unavailable(NotSent):
    """The same, and the source is out of order: nothing but time helps."""


@dataclass(frozen=True)
class Record:
    """A record as listed. ``cells``: by field id, empty ones left out."""

    id: str
    created_time: datetime
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class TableSchema:
    """A table in the source's metadata."""

    id: str
    name: str
    fields: tuple[AirtableField, ...]

    def named(self, fit: Callable[[str], str]) -> TableSchema:
        """The same with each name as ``fit`` gives it: as the portal's database can store it."""
        fields = (
            replace(
                field,
                name=fit(field.name),
                choices=None if field.choices is None else tuple(map(fit, field.choices)),
            )
            for field in self.fields
        )
        return replace(self, name=fit(self.name), fields=tuple(fields))


@dataclass
class Clock:
    """What the answers tell of the source's time, whose clock may differ from ours.

    ``earliest``: a moment on the source's clock that is certainly not later than the first answer
    since the last reset (None before it); ``noted_at``: our clock then. ``calls``: all that were
    made, those that were tried again included.
    """

    noted_at: datetime
    earliest: datetime | None = None
    calls: int = 0

    def note(self, moment: datetime, now: datetime) -> None:
        """An answer was made at that moment or later; ``now``: on our clock."""
        if self.earliest is None or moment < self.earliest:
            self.earliest, self.noted_at = moment, now

    def reset(self) -> None:
        """Before a listing whose own first answer counts."""
        self.earliest = None


class Source(Protocol):
    """The records of one client, in tables. Not shared between threads.

    Tables and fields are named by id. Wrong settings raise ConfigurationError, all else a
    `SourceError`. ``rank``: of those in this process who wait for a call, the lowest goes first.
    """

    rank: int

    @property
    def clock(self) -> Clock:
        """The source's time."""

    def schema(self, table: str, table_id: str | None = None) -> TableSchema:
        """A table, by remembered id first, else by name or id as the definition has it."""

    def changed_since(
        self,
        table_id: str,
        field_ids: Iterable[str],
        moment: datetime,
        seen: Iterable[str] = (),
        seen_before: datetime | None = None,
    ) -> Iterator[list[Record]]:
        """Pages of what was modified at or after a moment, without those of ``seen`` that were not
        modified at or after ``seen_before``. A record that comes twice is newer the second time.
        """

    def created_between(
        self,
        table_id: str,
        field_ids: Iterable[str],
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[list[Record]]:
        """Pages of what was created in a half-open window; None is open."""

    def read(self, table_id: str, ids: Iterable[str], field_ids: list[str]) -> list[Record]:
        """Records by id; without those that are gone or are no record id."""

    def write(self, table_id: str, changes: Mapping[str, Mapping[str, Any]]) -> list[Record]:
        """Write up to BATCH records, all or nothing. Answers whole records as they are then.

        Raises OutcomeUnknown where the write may or may not have happened, NotSent where it did
        not and may be tried again, Refused where it did not and may not.
        """
