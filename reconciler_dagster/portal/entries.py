"""What the engine keeps of a client's rows, for people: changes, conflicts, what waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from reconciler_dagster.core.sync import Pair
from reconciler_dagster.core.values import Value
from reconciler_dagster.portal.rows import ShownRow, named
from reconciler_dagster.portal.shown import Shown
from reconciler_dagster.postgres.held import TOLD_SINGLY


@dataclass(frozen=True)
class Entry:
    """Something that the engine keeps of a row: what it is, whose, and of which sync; None where
    that one is not in force any more.
    """

    what: RowMapping
    shown: Shown | None
    row: ShownRow

    @property
    def field(self) -> str:
        """The field's name, as people know it."""
        column = str(self.what["field"])
        return self.shown.label(column) if self.shown else column

    @property
    def of(self) -> str:
        """What its table is called."""
        return self.shown.heading if self.shown else str(self.what["sync"])

    @property
    def rows(self) -> str:
        """How many rows it stands for."""
        count = self.what.get("rows", 1)
        return self.shown.rows(count) if self.shown else f"{count:,} rows"

    @property
    def choice(self) -> Mapping[str, Value] | None:
        """The two values of a cell that waits for a person to choose, by side."""
        value = self.what.get("value")
        waits = isinstance(value, dict) and {"airtable", "postgres"} <= value.keys()
        return value if waits else None

    @property
    def can_be_taken_back(self) -> bool:
        """Whether the value that lost may be written into the row again."""
        return self.shown is not None and self.what["field"] in self.shown.editable


def _entries(
    connection: Connection,
    client_id: UUID,
    shown: Mapping[str, Shown],
    statement: str,
    **parameters: Any,
) -> list[Entry]:
    """What a statement finds, each with its row."""
    parameters["client"] = client_id
    found = connection.execute(text(statement), parameters).mappings().all()
    ids: dict[str, set[str]] = {}
    for each in found:
        ids.setdefault(each["sync"], set()).add(each["record_id"])
    seen = {
        name: named(connection, client_id, shown[name], records)
        for name, records in ids.items()
        if name in shown
    }
    return [
        Entry(
            each,
            shown.get(each["sync"]),
            seen.get(each["sync"], {}).get(each["record_id"])
            or ShownRow(each["record_id"], each["record_id"]),
        )
        for each in found
    ]


# Of one sync, or of all where none is named.
_OF = "client_id = :client AND (CAST(:sync AS text) IS NULL OR sync = :sync)"


def history_by_field(
    connection: Connection, pair: Pair, row_id: UUID, limit: int = 500
) -> dict[str, list[RowMapping]]:
    """Each change that the engine applied to a row, by column, the newest first."""
    asked = text("""
        SELECT run_id, field, side, old_value, new_value, changed_at FROM reconciler.history
        WHERE lead_id = :row AND client_id = :client_id AND sync = :sync
        ORDER BY changed_at DESC, id LIMIT :limit
    """)
    found = connection.execute(asked, {**pair.keys, "row": row_id, "limit": limit})
    history: dict[str, list[RowMapping]] = defaultdict(list)
    for change in found.mappings():
        history[change["field"]].append(change)
    return history


_CHANGE = """
    SELECT sync, run_id, record_id, field, side, old_value, new_value, changed_at
    FROM reconciler.history WHERE
"""


def history_of_run(
    connection: Connection,
    client_id: UUID,
    shown: Mapping[str, Shown],
    run_id: str,
    limit: int = 500,
) -> list[Entry]:
    """Each change that one run applied."""
    asked = f"{_CHANGE} client_id = :client AND run_id = :run ORDER BY id LIMIT :limit"
    return _entries(connection, client_id, shown, asked, run=run_id, limit=limit)


def history(connection: Connection, client_id: UUID, shown: Shown, limit: int = 25) -> list[Entry]:
    """The last changes of a sync, the newest first."""
    asked = f"{_CHANGE} {_OF} ORDER BY changed_at DESC, id DESC LIMIT :limit"
    own = {shown.name: shown}
    return _entries(connection, client_id, own, asked, sync=shown.name, limit=limit)


def conflicts(
    connection: Connection,
    client_id: UUID,
    shown: Mapping[str, Shown],
    sync: str | None = None,
    limit: int = 200,
) -> list[Entry]:
    """The last conflicts of a client with the row as it is now, the newest first."""
    asked = f"""
        SELECT id, sync, run_id, record_id, field, kind, winning_value, losing_value,
               happened_at, restored_at, restored_by
        FROM reconciler.conflict WHERE {_OF} ORDER BY happened_at DESC, id DESC LIMIT :limit
    """  # noqa: S608 - a constant
    return _entries(connection, client_id, shown, asked, sync=sync, limit=limit)


def quarantine(
    connection: Connection,
    client_id: UUID,
    shown: Mapping[str, Shown],
    sync: str | None = None,
    limit: int = 500,
) -> list[Entry]:
    """The cells of a client that one side cannot take, or that wait for a choice, the newest first.
    Many of one field with one reason are one entry, an example, with the number of ``rows``.
    """
    asked = f"""
        SELECT q.sync, q.record_id, q.field, q.direction, q.value, q.reason, q.attempts,
               q.first_seen_at, q.last_seen_at, q.next_attempt_at,
               CASE WHEN q.alike > :singly THEN q.alike ELSE 1 END AS rows
        FROM (SELECT *, count(*) OVER same AS alike, row_number() OVER same_in_order AS number
              FROM reconciler.quarantine WHERE {_OF}
              WINDOW same AS (PARTITION BY sync, field, direction, reason,
                  coalesce(value ?& ARRAY['airtable', 'postgres'], false)),
              same_in_order AS (same ORDER BY last_seen_at DESC, record_id)) q
        WHERE q.alike <= :singly OR q.number = 1
            OR coalesce(q.value ?& ARRAY['airtable', 'postgres'], false)
        ORDER BY q.last_seen_at DESC, q.record_id, q.field LIMIT :limit
    """  # noqa: S608 - a constant
    found = {"sync": sync, "limit": limit, "singly": TOLD_SINGLY}
    return _entries(connection, client_id, shown, asked, **found)


def pending_deletions(
    connection: Connection,
    client_id: UUID,
    shown: Mapping[str, Shown],
    sync: str | None = None,
    limit: int = 1000,
) -> list[Entry]:
    """The rows that are gone from Airtable and wait for a person's word."""
    asked = f"""
        SELECT sync, record_id, missing_since, reason FROM reconciler.tombstone
        WHERE {_OF} AND state = 'awaiting_approval' ORDER BY missing_since, record_id LIMIT :limit
    """  # noqa: S608 - a constant
    return _entries(connection, client_id, shown, asked, sync=sync, limit=limit)
