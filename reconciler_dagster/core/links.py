"""Codecs of links to the rows of another sync. Pure: who knows the rows is asked.

Canonical: record ids. The key of a row is only looked up when it is written, so a record whose row
is made in the very same run is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler_dagster.core.codecs import Codec, kind
from reconciler_dagster.core.records import is_record_id
from reconciler_dagster.core.values import Directory, Unreadable, Value


@dataclass(frozen=True, kw_only=True)
class Link(Codec):
    """A link to one row: its key in Postgres. ``to``: the sync."""

    to: str

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec. A text may be a record id."""
        linked = _record_ids(cell)
        if len(linked) > 1:
            raise Unreadable(
                f"links to {len(linked)} records, and the column holds one: leave one of them"
            )
        if not linked:
            raise Unreadable(f"holds {kind(cell)} where a link was expected")
        return linked[0]

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return None if value is None else _record_of(value, self.to, users)

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        return [] if value is None else [_own(value)]

    def to_postgres(self, value: Value, users: Directory) -> Any:
        """See Codec. Unreadable where the row is not there yet."""
        return None if value is None else _key_of(value, self.to, users)


@dataclass(frozen=True, kw_only=True)
class Links(Codec):
    """Links to several rows: an array of their keys. Their order says nothing."""

    to: str

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if not isinstance(cell, list):
            raise Unreadable(f"holds {kind(cell)} where links were expected")
        return sorted(set(_record_ids(cell))) or None

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return sorted({_record_of(key, self.to, users) for key in value or ()}) or None

    def to_airtable(self, value: Value) -> Any:
        """See Codec."""
        return [_own(record_id) for record_id in value or ()]

    def to_postgres(self, value: Value, users: Directory) -> Any:
        """See Codec. Unreadable where one of the rows is not there yet."""
        return None if value is None else [_key_of(one, self.to, users) for one in value]


def _record_ids(cell: Any) -> list[str]:
    found = cell if isinstance(cell, list) else [str(cell).strip()]
    return [one for one in found if is_record_id(one)]


def _record_of(key: Any, sync: str, users: Directory) -> str:
    """A row of the portal's own has no record: it differs from whatever Airtable says."""
    return users.rows(sync).record_of_key(str(key)) or f"row {key}"


def _own(record_id: str) -> str:
    if not is_record_id(record_id):
        raise Unreadable(
            f"links to {record_id}, which has no record in Airtable yet: wait until it has one"
        )
    return record_id


def _key_of(record_id: str, sync: str, users: Directory) -> Any:
    key = users.rows(sync).key_of_record(record_id)
    if key is None:
        raise Unreadable(
            f"links to {record_id} of {sync}, whose row is not there yet: wait, it is carried over "
            "once that row is there"
        )
    return key
