"""The baseline: the last value of each field that both sides were seen to hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, text

from reconciler_dagster.core.reading import Row
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import statement


@dataclass(frozen=True)
class BaselineRow:
    """What is agreed on for one record; a field without a key is not agreed on yet.

    ``placeholders``: what the engine itself put into the lead where it could not take the cell.
    """

    record_id: str
    lead_id: str
    created_time: datetime
    fields: Row
    placeholders: Row = field(default_factory=dict)

    def is_whole(self, columns: Collection[str]) -> bool:
        """Whether all of these fields are agreed on, and the lead holds no placeholder."""
        return not self.placeholders and set(columns) <= self.fields.keys()

    def without(self, columns: Collection[str]) -> BaselineRow:
        """The row as if these fields had never been agreed on."""
        fields = {column: value for column, value in self.fields.items() if column not in columns}
        return replace(self, fields=fields)


def load(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> dict[str, BaselineRow]:
    """The baselines of some records, by record id."""
    rows = connection.execute(
        text(
            "SELECT record_id, lead_id::text, created_time, fields, placeholders "
            "FROM reconciler.baseline "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )
    return {row.record_id: BaselineRow(*row) for row in rows}


def exists(connection: Connection, pair: Pair) -> bool:
    """Whether anything was ever agreed on for a client."""
    return bool(
        connection.execute(
            text(
                "SELECT EXISTS (SELECT FROM reconciler.baseline WHERE client_id = :client_id AND "
                "sync = :sync)"
            ),
            pair.keys,
        ).scalar()
    )


def known(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> set[str]:
    """Those of some records for which something is agreed on."""
    rows = connection.execute(
        text(
            "SELECT record_id FROM reconciler.baseline "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )
    return set(rows.scalars())


def count(connection: Connection, pair: Pair) -> int:
    """How many records something is agreed on for."""
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM reconciler.baseline WHERE client_id = :client_id AND sync = "
                ":sync"
            ),
            pair.keys,
        ).scalar_one()
    )


def emptied(connection: Connection, pair: Pair, columns: Collection[str]) -> int:
    """How many leads hold nothing in one of these columns where a value is agreed on."""
    return int(
        connection.execute(
            statement(
                pair.table,
                "SELECT count(*) FROM reconciler.baseline b JOIN {table} l "
                "ON {record_id} = b.record_id AND {may_be_own}, "
                "to_jsonb(l) AS now WHERE b.client_id = :client_id AND b.sync = :sync AND EXISTS ("
                "SELECT FROM unnest(CAST(:columns AS text[])) AS f "
                "WHERE b.fields -> f <> ALL(CAST(:blank AS jsonb[])) "
                "AND (now -> f = ANY(CAST(:blank AS jsonb[])) "
                "OR (now ->> f ~ '^\\s*$' AND now -> f <> b.fields -> f)))",
            ),
            {
                **pair.keys,
                "columns": list(columns),
                "blank": ["null", '""', "false"],
            },
        ).scalar_one()
    )


def advance(connection: Connection, pair: Pair, rows: Iterable[BaselineRow]) -> None:
    """Add agreed values and placeholders; fields that are not named keep theirs. A field that is
    agreed on has no placeholder any more.
    """
    data = [
        {
            "record_id": row.record_id,
            "lead_id": row.lead_id,
            "created_time": row.created_time,
            "fields": row.fields,
            "placeholders": row.placeholders,
        }
        for row in rows
    ]
    connection.execute(
        text(
            "INSERT INTO reconciler.baseline AS b "
            "(client_id, sync, record_id, lead_id, created_time, fields, placeholders, advance) "
            "SELECT :client_id, :sync, r.record_id, r.lead_id, r.created_time, r.fields, "
            "r.placeholders, "
            "nextval('reconciler.advance') "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (record_id text, lead_id uuid, "
            "created_time timestamptz, fields jsonb, placeholders jsonb) "
            "ON CONFLICT (client_id, sync, record_id) DO UPDATE "
            "SET lead_id = excluded.lead_id, fields = b.fields || excluded.fields, placeholders = "
            "(b.placeholders - ARRAY(SELECT jsonb_object_keys(excluded.fields))) "
            "|| excluded.placeholders, advance = excluded.advance"
        ),
        {**pair.keys, "rows": dump(data)},
    )


def forget(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> None:
    """Agree on nothing about these records any more."""
    connection.execute(
        text(
            "DELETE FROM reconciler.baseline "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )


def mark_verified(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> None:
    """Note that these records were compared in full just now, all at the same moment."""
    connection.execute(
        text(
            "UPDATE reconciler.baseline SET verified_at = now() "
            "WHERE client_id = :client_id AND sync = :sync AND record_id = ANY(:record_ids)"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )


def next_advance(connection: Connection) -> int:
    """Where the count of advances stands now."""
    return int(connection.execute(text("SELECT nextval('reconciler.advance')")).scalar_one())


def advanced_since(connection: Connection, pair: Pair, key: str, advance: int) -> list[str]:
    """Records staged under ``key`` whose baseline was advanced after that count.

    Somebody read or wrote them later than this listing did: what it says of them is old.
    """
    rows = connection.execute(
        text(
            "SELECT record_id FROM reconciler.staged_record s "
            "JOIN reconciler.baseline b USING (record_id) "
            "WHERE s.run_id = :key AND b.client_id = :client_id AND b.sync = :sync AND b.advance > "
            ":advance"
        ),
        {"key": key, **pair.keys, "advance": advance},
    )
    return list(rows.scalars())
