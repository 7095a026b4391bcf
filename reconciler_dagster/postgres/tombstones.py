"""Tombstones: leads whose records Airtable does not list, from the first absence to the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres import baseline, derived
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.names import filled, quoted, statement
from reconciler_dagster.postgres.windows import expected
from reconciler_dagster.redaction import redacted

# Missing for a reason that may be an accident, or already gone: what the limit is held against.
# Leads on which nothing was ever agreed wait for a person, and do not count.
_COUNTED = (
    "(state IN ('missing', 'awaiting_approval') AND EXISTS (SELECT FROM reconciler.baseline b "
    "WHERE b.client_id = tombstone.client_id AND b.record_id = tombstone.record_id)) "
    "OR (state = 'deleted' AND decided_by IS NULL "
    "AND deleted_at > clock_timestamp() - interval '1 day')"
)


@dataclass(frozen=True)
class Tombstone:
    """One lead that is, or was, missing from Airtable. ``run_id``: the last run that looked."""

    record_id: str
    lead_id: str
    state: State
    listings: int
    run_id: str | None
    missing_since: datetime
    reason: str


def load(
    connection: Connection, pair: Pair, record_ids: Iterable[str] | None = None
) -> dict[str, Tombstone]:
    """The tombstones of some records, or of all, by record id."""
    rows = connection.execute(
        text(
            "SELECT record_id, lead_id::text, state, listings, run_id, missing_since, reason "
            "FROM reconciler.tombstone WHERE client_id = :client_id AND sync = :sync "
            "AND (:everything OR record_id = ANY(:record_ids)) ORDER BY missing_since, record_id"
        ),
        {
            **pair.keys,
            "everything": record_ids is None,
            "record_ids": list(record_ids or ()),
        },
    )
    return {row.record_id: Tombstone(row[0], row[1], State(row[2]), *row[3:]) for row in rows}


def counted(connection: Connection, pair: Pair) -> int:
    """Leads that are missing, wait for a person, or were deleted unasked within a day."""
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM reconciler.tombstone "  # noqa: S608 - a constant
                f"WHERE client_id = :client_id AND sync = :sync AND ({_COUNTED})"
            ),
            pair.keys,
        ).scalar_one()
    )


def suspect(connection: Connection, pair: Pair, record_ids: Iterable[str]) -> None:
    """A record that was asked for by id and is not there: its window is to be listed soon."""
    connection.execute(
        text(
            "INSERT INTO reconciler.tombstone "  # noqa: S608 - a constant
            "(client_id, sync, record_id, lead_id, created_time, reason, looked_at) "
            "SELECT :client_id, :sync, record_id, lead_id, created_time, "
            f"'Airtable has no such record.', '-infinity' FROM {expected(pair)} k "
            "WHERE record_id = ANY(:record_ids) "
            "ON CONFLICT (client_id, sync, record_id) "
            "DO UPDATE SET state = 'missing', listings = 0, missing_since = clock_timestamp(), "
            "looked_at = '-infinity' "
            "WHERE tombstone.state = 'returned'"
        ),
        {**pair.keys, "record_ids": list(record_ids)},
    )


@dataclass(frozen=True)
class Absence:
    """A record that a complete listing did not have: what follows from it. ``listings``: so far."""

    record_id: str
    state: State
    listings: int
    reason: str


def note_absent(
    connection: Connection, pair: Pair, run_id: str, absences: Iterable[Absence]
) -> None:
    """Note absences."""
    rows = [asdict(absence) | {"reason": redacted(absence.reason)} for absence in absences]
    connection.execute(
        text(
            "INSERT INTO reconciler.tombstone AS t "  # noqa: S608 - a constant
            "(client_id, sync, record_id, lead_id, created_time, state, listings, run_id, reason) "
            "SELECT :client_id, :sync, k.record_id, k.lead_id, k.created_time, r.state, "
            "r.listings, :run_id, r.reason "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (record_id text, "
            f"state text, listings int, reason text) JOIN {expected(pair)} k USING (record_id) "
            "ON CONFLICT (client_id, sync, record_id) DO UPDATE SET "
            # A person may have decided since the tombstones were read.
            "state = CASE WHEN t.state IN ('approved', 'rejected') THEN t.state "
            "ELSE excluded.state END, listings = excluded.listings, "
            "missing_since = CASE WHEN t.state = 'returned' THEN clock_timestamp() "
            "ELSE t.missing_since END, "
            "run_id = excluded.run_id, reason = excluded.reason, looked_at = clock_timestamp()"
        ),
        {**pair.keys, "run_id": run_id, "rows": dump(rows)},
    )


def bury(connection: Connection, pair: Pair, run_id: str, record_ids: Collection[str]) -> int:
    """Delete leads softly: archive them, deactivate them, say so in their log, forget agreement.

    Within the caller's ``connection.writing``. The row and its log stay; a lead that somebody
    has locked is left for the next time. Returns how many were deactivated.
    """
    parameters: dict[str, Any] = {
        **pair.keys,
        "run_id": run_id,
        "record_ids": _free(connection, pair, record_ids),
    }
    connection.execute(
        statement(
            pair.table,
            "UPDATE reconciler.tombstone t SET state = 'deleted', run_id = :run_id, "
            "deleted_at = clock_timestamp(), archived = to_jsonb(l) FROM {table} l "
            "WHERE t.client_id = :client_id AND t.sync = :sync AND t.record_id = ANY(:record_ids) "
            "AND {may_be_own} AND {record_id} = t.record_id",
        ),
        parameters,
    )
    connection.execute(
        text(
            "UPDATE reconciler.tombstone SET state = 'deleted', run_id = :run_id, "
            "deleted_at = clock_timestamp() WHERE client_id = :client_id AND sync = :sync "
            "AND record_id = ANY(:record_ids) AND state <> 'deleted'"
        ),
        parameters,
    )
    deactivated = _set_active(
        connection,
        pair,
        parameters,
        False,
        "deleted",
        "Deactivated: the record was deleted in Airtable.",
    )
    baseline.forget(connection, pair, parameters["record_ids"])
    connection.execute(
        text(
            "DELETE FROM reconciler.quarantine WHERE client_id = :client_id AND sync = :sync "
            "AND record_id = ANY(:record_ids)"
        ),
        parameters,
    )
    return deactivated


def _set_active(
    connection: Connection,
    pair: Pair,
    parameters: dict[str, Any],
    active: bool,
    event: str,
    description: str,
) -> int:
    """Switch rows, where they can be, say so in the portal's log, and work out what follows.
    Returns how many were not so already.
    """
    if pair.table.active is None:
        return 0
    switch = filled(
        pair.table,
        "UPDATE {table} l SET {column} = :active WHERE {may_be_own} "
        "AND {record_id} = ANY(:record_ids) AND {active} <> :active RETURNING l.*",
        column=quoted(pair.table.active),
    )
    told = pair.table.log.sql if pair.table.log else "SELECT FROM switched"
    switched = connection.execute(
        text(f"WITH switched AS ({switch}) {told}"),
        {**parameters, "active": active, "event": event, "description": description},
    ).rowcount
    derived.work_out(connection, pair, parameters["record_ids"])
    return switched


def _free(connection: Connection, pair: Pair, record_ids: Collection[str]) -> list[str]:
    """Those of the records whose lead could be locked at once, or is not there."""
    parameters = {**pair.keys, "record_ids": list(record_ids)}
    there = filled(
        pair.table,
        "SELECT {record_id} FROM {table} l WHERE {may_be_own} AND {record_id} = ANY(:record_ids)",
    )
    leads = set(connection.execute(text(there), parameters).scalars())
    skipping = text(f"{there} FOR NO KEY UPDATE SKIP LOCKED")
    free = set(connection.execute(skipping, parameters).scalars())
    return [record_id for record_id in record_ids if record_id in free or record_id not in leads]


def note_returned(connection: Connection, pair: Pair, run_id: str, record_ids: list[str]) -> int:
    """Records that Airtable has after all: what was under way is cancelled, what was deactivated
    is active again, under the same lead id. Within ``connection.writing``. Returns how many.
    """
    parameters = {**pair.keys, "run_id": run_id, "record_ids": record_ids}
    active = pair.table.active
    back = connection.execute(
        text(
            "SELECT record_id, state, "
            "coalesce((archived ->> CAST(:active AS text))::boolean, true) AS was "
            "FROM reconciler.tombstone WHERE client_id = :client_id AND sync = :sync "
            "AND record_id = ANY(:record_ids) AND state <> 'returned' FOR UPDATE"
        ),
        {**parameters, "active": active},
    ).all()
    if not back:
        return 0
    revive = [row.record_id for row in back if row.state == "deleted" and row.was]
    _set_active(
        connection,
        pair,
        {**parameters, "record_ids": revive},
        True,
        "restored",
        "Active again: the record is back in Airtable.",
    )
    connection.execute(
        text(
            "UPDATE reconciler.tombstone SET state = 'returned', listings = 0, archived = NULL, "
            "run_id = :run_id WHERE client_id = :client_id AND sync = :sync "
            "AND record_id = ANY(:record_ids)"
        ),
        {**parameters, "record_ids": [row.record_id for row in back]},
    )
    return len(back)


def to_look_at(connection: Connection, pair: Pair, minutes: int) -> datetime | None:
    """When the record was created whose absence most needs a second listing; None without one."""
    return connection.execute(
        text(
            "SELECT created_time FROM reconciler.tombstone WHERE client_id = :client_id AND sync = "
            ":sync "
            "AND state = 'missing' "
            "AND looked_at < clock_timestamp() - make_interval(mins => :minutes) "
            "ORDER BY looked_at, created_time LIMIT 1"
        ),
        {**pair.keys, "minutes": minutes},
    ).scalar()
