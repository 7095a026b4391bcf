"""What the ops of one run hand to each other, in Postgres: lead data lies in no pickle.

Rows are keyed by run id, so a failed step can be run again, and are dropped with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.plan import LeadChange
from reconciler_dagster.core.reading import Problems, Row
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres.encoding import storable
from reconciler_dagster.postgres.jsonb import dump

_LEFTOVERS = """
    leftovers AS (
        SELECT CAST(:run_id AS text) AS run_id UNION ALL SELECT run_id FROM reconciler.staged_pull
        WHERE staged_at < clock_timestamp() - interval '1 day')
"""
_TABLES = ("staged_record", "staged_lead", "staged_change", "staged_pull")


@dataclass(frozen=True)
class StagedRecord:
    """A remote record in canonical values. ``unreadable``: column to reason."""

    record_id: str
    created_time: datetime
    fields: Row
    unreadable: Problems = field(default_factory=dict)


@dataclass(frozen=True)
class StagedLead:
    """A local lead as read in one snapshot.

    ``row``: the mapped columns as JSON, None where the lead is not there. ``row_version``: xmin,
    which any write changes. ``revisions``: the unsettled edits that this reading covers.
    """

    record_id: str
    lead_id: str | None
    row_version: str | None
    row: dict[str, Any] | None
    revisions: list[int]
    deleted_row: dict[str, Any] | None


class StagingLost(Exception):
    """What a run had staged is no longer there: of so many records, one side or both."""

    def __init__(self, records: int) -> None:
        super().__init__(
            f"Of what this run had read, {records} records are gone: Postgres was restarted "
            "meanwhile. The run wrote nothing more; the next run begins anew."
        )


def stage_records(connection: Connection, run_id: str, records: Iterable[StagedRecord]) -> None:
    """Add remote records; a later copy of the same record replaces the earlier one."""
    rows = list({r.record_id: r for r in records}.values())
    connection.execute(
        text(
            "INSERT INTO reconciler.staged_record "
            "SELECT :run_id, r.record_id, r.created_time, r.fields, r.unreadable "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (record_id text, "
            "created_time timestamptz, fields jsonb, unreadable jsonb) "
            "ON CONFLICT (run_id, record_id) DO UPDATE SET created_time = excluded.created_time, "
            "fields = excluded.fields, unreadable = excluded.unreadable"
        ),
        {"run_id": run_id, "rows": dump(rows)},
    )


def records(
    connection: Connection, run_id: str, record_ids: Iterable[str]
) -> dict[str, StagedRecord]:
    """Some of a run's remote records, by record id."""
    rows = connection.execute(
        text(
            "SELECT record_id, created_time, fields, unreadable FROM reconciler.staged_record "
            "WHERE run_id = :run_id AND record_id = ANY(:record_ids)"
        ),
        {"run_id": run_id, "record_ids": list(record_ids)},
    )
    return {row.record_id: StagedRecord(*row) for row in rows}


def record_ids(connection: Connection, run_id: str) -> list[str]:
    """The ids of the remote records of a run."""
    rows = connection.execute(
        text("SELECT record_id FROM reconciler.staged_record WHERE run_id = :run_id"),
        {"run_id": run_id},
    )
    return list(rows.scalars().all())


def whole(connection: Connection, run_id: str, expected: int) -> set[str]:
    """The same where so many were staged. The tables are not logged: a crash of Postgres empties
    them. Raises StagingLost where there are fewer.
    """
    found = set(record_ids(connection, run_id))
    if len(found) < expected:
        raise StagingLost(expected - len(found))
    return found


def drop_records(connection: Connection, run_id: str, records: Iterable[str]) -> None:
    """Take records out again."""
    connection.execute(
        text(
            "DELETE FROM reconciler.staged_record "
            "WHERE run_id = :run_id AND record_id = ANY(:records)"
        ),
        {"run_id": run_id, "records": list(records)},
    )


def looks_retyped(
    connection: Connection,
    pair: Pair,
    run_id: str,
    blanks: Mapping[str, Any],
    texts: Iterable[str],
) -> bool:
    """Whether a staged cell is blank that was not when last agreed on, or is unreadable and not
    in quarantine yet, or ends with a line end and is not what was agreed on. ``blanks``: column to
    the canonical value of an empty cell; ``texts``: columns that are looked at for line ends.
    """
    return bool(
        connection.execute(
            text(
                "SELECT EXISTS (SELECT FROM reconciler.staged_record s "
                "JOIN reconciler.baseline b ON b.client_id = :client_id "
                "AND b.sync = :sync AND b.record_id = s.record_id, "
                "jsonb_each(CAST(:blanks AS jsonb)) k WHERE s.run_id = :run_id AND s.fields -> "
                "k.key = k.value "
                "AND b.fields -> k.key <> k.value) "
                "OR EXISTS (SELECT FROM reconciler.staged_record s, "
                "jsonb_object_keys(s.unreadable) u WHERE s.run_id = :run_id AND NOT EXISTS ("
                "SELECT FROM reconciler.quarantine q "
                "WHERE q.client_id = :client_id AND q.sync = :sync AND q.record_id = s.record_id "
                "AND q.field = u AND q.direction = 'to_postgres')) "
                "OR EXISTS (SELECT FROM reconciler.staged_record s "
                "JOIN unnest(CAST(:texts AS text[])) AS t ON right(s.fields ->> t, 1) = chr(10) "
                "LEFT JOIN reconciler.baseline b ON b.client_id = :client_id "
                "AND b.sync = :sync AND b.record_id = s.record_id WHERE s.run_id = :run_id "
                "AND s.fields -> t IS DISTINCT FROM b.fields -> t)"
            ),
            {
                "run_id": run_id,
                **pair.keys,
                "blanks": dump(dict(blanks)),
                "texts": list(texts),
            },
        ).scalar()
    )


def leads(connection: Connection, run_id: str, record_ids: Iterable[str]) -> dict[str, StagedLead]:
    """Some of a run's local leads, by record id."""
    rows = connection.execute(
        text(
            "SELECT record_id, lead_id::text, row_version, row, revisions, deleted_row "
            "FROM reconciler.staged_lead WHERE run_id = :run_id AND record_id = ANY(:record_ids)"
        ),
        {"run_id": run_id, "record_ids": list(record_ids)},
    )
    return {row.record_id: StagedLead(*row) for row in rows}


def count_leads(connection: Connection, run_id: str) -> tuple[int, int]:
    """How many local leads a run has staged, and how many unsettled edits these have."""
    found = connection.execute(
        text(
            "SELECT count(*) AS leads, coalesce(sum(cardinality(revisions)), 0) AS edits "
            "FROM reconciler.staged_lead WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    ).one()
    return int(found.leads), int(found.edits)


def lead_ids(connection: Connection, run_id: str) -> list[str]:
    """The record ids of the local leads of a run."""
    rows = connection.execute(
        text("SELECT record_id FROM reconciler.staged_lead WHERE run_id = :run_id"),
        {"run_id": run_id},
    )
    return list(rows.scalars().all())


def stage_changes(connection: Connection, run_id: str, changes: Mapping[str, LeadChange]) -> None:
    """The plan of a run, lead by lead."""
    rows = [
        {"record_id": key, "change": change, "outbound": bool(change.to_airtable)}
        for key, change in changes.items()
    ]
    connection.execute(
        text(
            "INSERT INTO reconciler.staged_change "
            "SELECT :run_id, r.record_id, r.change, r.outbound "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r "
            "(record_id text, change jsonb, outbound boolean)"
        ),
        {"run_id": run_id, "rows": dump(rows)},
    )


def changes(
    connection: Connection, run_id: str, record_ids: Iterable[str]
) -> dict[str, LeadChange]:
    """The plan of some of a run's records again, ordered by record id."""
    rows = connection.execute(
        text(
            "SELECT record_id, change FROM reconciler.staged_change "
            "WHERE run_id = :run_id AND record_id = ANY(:record_ids) ORDER BY record_id"
        ),
        {"run_id": run_id, "record_ids": list(record_ids)},
    )
    return {row.record_id: LeadChange(**row.change) for row in rows}


def stage_pull(connection: Connection, run_id: str, client_id: str, pull: dict[str, Any]) -> None:
    """What the pull found out besides the records."""
    connection.execute(
        text(
            "INSERT INTO reconciler.staged_pull (run_id, client_id, pull) "
            "VALUES (:run_id, :client_id, CAST(:pull AS jsonb)) "
            "ON CONFLICT (run_id) DO UPDATE SET pull = excluded.pull"
        ),
        {"run_id": run_id, "client_id": client_id, "pull": storable(connection, dump(pull))},
    )


def pull(connection: Connection, run_id: str) -> dict[str, Any]:
    """What the pull of this run found out; LookupError where it has not run."""
    found = connection.execute(
        text("SELECT pull FROM reconciler.staged_pull WHERE run_id = :run_id"), {"run_id": run_id}
    ).scalar()
    if found is None:
        raise LookupError(f"Run {run_id} has pulled nothing: run airtable_leads first.")
    return dict(found)


def clear(connection: Connection, run_id: str, *tables: str) -> None:
    """Drop what a run staged, and what dead runs left behind."""
    deletions = ", ".join(
        f"of_{table} AS (DELETE FROM reconciler.{table} "  # noqa: S608 - constants
        # An array, so that the index is used: the tables may be full of dead rows.
        "WHERE run_id = ANY(ARRAY(SELECT run_id FROM leftovers)))"
        for table in tables or _TABLES
    )
    connection.execute(text(f"WITH {_LEFTOVERS}, {deletions} SELECT"), {"run_id": run_id})
