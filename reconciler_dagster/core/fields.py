"""A field map: which Airtable field feeds which column, and who may edit it.

Airtable names are exact, as real bases spell them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from reconciler_dagster.core.codecs import Codec


class Policy(StrEnum):
    """What happens to a field that both sides edited differently."""

    AIRTABLE_WINS = "airtable_wins"
    POSTGRES_WINS = "postgres_wins"
    # Lines that were appended in the portal since the baseline are put on top of Airtable's text.
    MERGE_APPENDS = "merge_appends"
    # Both values stay until a person chooses.
    HOLD = "hold"


@dataclass(frozen=True)
class MappedField:
    """One row of the map.

    ``types``: Airtable field types whose values the codec can read. ``both``: people edit it on
    either side; otherwise Airtable owns it, and an edit in Postgres is put back. ``also``: further
    Airtable fields, of which the first that is not empty counts. ``optional``: a base without the
    field is no problem. ``fills``: written only where the column is empty; what stands there stays.
    ``required``: a record in which it is empty has no row in Postgres. ``of``: the column without
    whose value this one's means nothing (core.together).
    """

    airtable: str
    column: str
    types: tuple[str, ...]
    codec: Codec
    both: bool = False
    policy: Policy = Policy.AIRTABLE_WINS
    also: tuple[str, ...] = ()
    optional: bool = False
    fills: bool = False
    required: bool = False
    of: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The Airtable fields, the first one first."""
        return (self.airtable, *self.also)

    @property
    def fingerprint(self) -> str:
        """Changes when codec, policy or direction change: baselines taken before are then void."""
        declared = repr((self.codec, self.both, self.policy))
        return hashlib.sha256(declared.encode()).hexdigest()[:16]


class FieldMap:
    """The mapped fields in order, also to be found by column."""

    def __init__(self, fields: Iterable[MappedField]) -> None:
        self._by_column: dict[str, MappedField] = {}
        for field in fields:
            if self._by_column.setdefault(field.column, field) is not field:
                raise ValueError(f"the column {field.column} is mapped twice")
        self.dependent = [f for f in self if f.of in self._by_column]
        """Fields whose ``of`` is in the map too."""
        self._partners: dict[str, tuple[str, ...]] = {}
        for field in self.dependent:
            assert field.of is not None
            self._partners[field.of] = (*self._partners.get(field.of, ()), field.column)
            self._partners[field.column] = (field.of,)

    def __iter__(self) -> Iterator[MappedField]:
        return iter(self._by_column.values())

    def __len__(self) -> int:
        return len(self._by_column)

    def __contains__(self, column: str) -> bool:
        return column in self._by_column

    def __getitem__(self, column: str) -> MappedField:
        return self._by_column[column]

    def partners(self, column: str) -> tuple[str, ...]:
        """The columns that are carried over together with one; mostly none."""
        return self._partners.get(column, ())

    @property
    def columns(self) -> list[str]:
        """The mapped columns."""
        return list(self._by_column)

    def refined(self, by: FieldMap) -> FieldMap:
        """The map with those fields as another one has them that it has as well."""
        return FieldMap((self._by_column | by._by_column)[column] for column in self._by_column)

    def only(self, columns: Collection[str]) -> FieldMap:
        """The map without the fields that are stopped."""
        return FieldMap(field for field in self if field.column in columns)
