"""Tombstones: leads whose records Airtable does not list, from the first absence to the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core.deletions import State
from reconciler_dagster.postgres import baseline
from reconciler_dagster.postgres.staging import dump
from reconciler_dagster.postgres.windows import EXPECTED
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
    connection: Connection, client_id: str, record_ids: Iterable[str] | None = None
) -> dict[str, Tombstone]:
    """The tombstones of some records, or of all, by record id."""
    rows = connection.execute(
        text(
            "SELECT record_id, lead_id::text, state, listings, run_id, missing_since, reason "
            "FROM reconciler.tombstone WHERE client_id = :client_id "
            "AND (:everything OR record_id = ANY(:record_ids)) ORDER BY missing_since, record_id"
        ),
        {
            "client_id": client_id,
            "everything": record_ids is None,
            "record_ids": list(record_ids or ()),
        },
    )
    return {row.record_id: Tombstone(row[0], row[1], State(row[2]), *row[3:]) for row in rows}


def counted(connection: Connection, client_id: str) -> int:
    """Leads that are missing, wait for a person, or were deleted unasked within a day."""
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM reconciler.tombstone "  # noqa: S608 - a constant
                f"WHERE client_id = :client_id AND ({_COUNTED})"
            ),
            {"client_id": client_id},
        ).scalar_one()
    )


def pending(connection: Connection, client_id: str) -> int:
    """Deletions that wait for a person."""
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM reconciler.tombstone "
                "WHERE client_id = :client_id AND state = 'awaiting_approval'"
            ),
            {"client_id": client_id},
        ).scalar_one()
    )


def suspect(connection: Connection, client_id: str, record_ids: Iterable[str]) -> None:
    """A record that was asked for by id and is not there: its window is to be listed soon."""
    connection.execute(
        text(
            "INSERT INTO reconciler.tombstone "  # noqa: S608 - a constant
            "(client_id, record_id, lead_id, created_time, reason, looked_at) "
            "SELECT client_id, record_id, lead_id, created_time, "
            f"'Airtable has no such record.', '-infinity' FROM {EXPECTED} k "
            "WHERE client_id = :client_id AND record_id = ANY(:record_ids) "
            "ON CONFLICT (client_id, record_id) DO UPDATE SET state = 'missing', listings = 0, "
            "missing_since = clock_timestamp(), looked_at = '-infinity' "
            "WHERE tombstone.state = 'returned'"
        ),
        {"client_id": client_id, "record_ids": list(record_ids)},
    )


@dataclass(frozen=True)
class Absence:
    """A record that a complete listing did not have: what follows from it. ``listings``: so far."""

    record_id: str
    state: State
    listings: int
    reason: str


def absent(
    connection: Connection, client_id: str, run_id: str, absences: Iterable[Absence]
) -> None:
    """Note absences."""
    rows = [asdict(absence) | {"reason": redacted(absence.reason)} for absence in absences]
    connection.execute(
        text(
            "INSERT INTO reconciler.tombstone AS t "  # noqa: S608 - a constant
            "(client_id, record_id, lead_id, created_time, state, listings, run_id, reason) "
            "SELECT k.client_id, k.record_id, k.lead_id, k.created_time, r.state, r.listings, "
            ":run_id, r.reason "
            "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (record_id text, "
            f"state text, listings int, reason text) JOIN {EXPECTED} k USING (record_id) "
            "WHERE k.client_id = :client_id "
            "ON CONFLICT (client_id, record_id) DO UPDATE SET "
            # A person may have decided since the tombstones were read.
            "state = CASE WHEN t.state IN ('approved', 'rejected') THEN t.state "
            "ELSE excluded.state END, listings = excluded.listings, "
            "missing_since = CASE WHEN t.state = 'returned' THEN clock_timestamp() "
            "ELSE t.missing_since END, "
            "run_id = excluded.run_id, reason = excluded.reason, looked_at = clock_timestamp()"
        ),
        {"client_id": client_id, "run_id": run_id, "rows": dump(rows)},
    )


def bury(connection: Connection, client_id: str, run_id: str, record_ids: Collection[str]) -> int:
    """Delete leads softly: archive them, deactivate them, say so in their log, forget agreement.

    Within the caller's ``connection.writing``. The row and its log stay; a lead that somebody
    has locked is left for the next time. Returns how many were deactivated.
    """
    parameters: dict[str, Any] = {
        "client_id": client_id,
        "run_id": run_id,
        "record_ids": _free(connection, client_id, record_ids),
    }
    connection.execute(
        text(
            "UPDATE reconciler.tombstone t SET state = 'deleted', run_id = :run_id, "
            "deleted_at = clock_timestamp(), archived = to_jsonb(l) FROM public.leads l "
            "WHERE t.client_id = :client_id AND t.record_id = ANY(:record_ids) "
            "AND l.client_id = t.client_id AND l.airtable_record_id = t.record_id"
        ),
        parameters,
    )
    connection.execute(
        text(
            "UPDATE reconciler.tombstone SET state = 'deleted', run_id = :run_id, "
            "deleted_at = clock_timestamp() WHERE client_id = :client_id "
            "AND record_id = ANY(:record_ids) AND state <> 'deleted'"
        ),
        parameters,
    )
    deactivated = _set_active(
        connection,
        parameters,
        False,
        "lead_deleted",
        "Deactivated: the record was deleted in Airtable.",
    )
    baseline.forget(connection, client_id, parameters["record_ids"])
    connection.execute(
        text(
            "DELETE FROM reconciler.quarantine WHERE client_id = :client_id "
            "AND record_id = ANY(:record_ids)"
        ),
        parameters,
    )
    return deactivated


def _set_active(
    connection: Connection, parameters: dict[str, Any], active: bool, event: str, description: str
) -> int:
    """Switch leads and say so in their log. Returns how many were not so already."""
    return connection.execute(
        text(
            "WITH switched AS (UPDATE public.leads SET is_active = :active "
            "WHERE client_id = :client_id AND airtable_record_id = ANY(:record_ids) "
            "AND is_active <> :active RETURNING id, airtable_record_id, client_id) "
            "INSERT INTO public.lead_activity_log (id, event_type, event_category, lead_id, "
            "lead_airtable_id, client_id, description, source, execution_id, timestamp, "
            "created_at) SELECT gen_random_uuid(), CAST(:event AS text), 'SYSTEM', id, "
            "airtable_record_id, client_id, CAST(:description AS text), 'reconciler', :run_id, "
            "clock_timestamp(), clock_timestamp() FROM switched"
        ),
        {**parameters, "active": active, "event": event, "description": description},
    ).rowcount


def _free(connection: Connection, client_id: str, record_ids: Collection[str]) -> list[str]:
    """Those of the records whose lead could be locked at once, or is not there."""
    parameters = {"client_id": client_id, "record_ids": list(record_ids)}
    there = (
        "FROM public.leads WHERE client_id = :client_id AND airtable_record_id = ANY(:record_ids)"
    )
    leads = set(
        connection.execute(text(f"SELECT airtable_record_id {there}"), parameters).scalars()
    )
    free = set(
        connection.execute(
            text(f"SELECT airtable_record_id {there} FOR NO KEY UPDATE SKIP LOCKED"), parameters
        ).scalars()
    )
    return [record_id for record_id in record_ids if record_id in free or record_id not in leads]


def returned(connection: Connection, client_id: str, run_id: str, record_ids: list[str]) -> int:
    """Records that Airtable has after all: what was under way is cancelled, what was deactivated
    is active again, under the same lead id. Within ``connection.writing``. Returns how many.
    """
    parameters = {"client_id": client_id, "run_id": run_id, "record_ids": record_ids}
    back = connection.execute(
        text(
            "SELECT record_id, state, coalesce((archived ->> 'is_active')::boolean, true) AS was "
            "FROM reconciler.tombstone WHERE client_id = :client_id "
            "AND record_id = ANY(:record_ids) AND state <> 'returned' FOR UPDATE"
        ),
        parameters,
    ).all()
    if not back:
        return 0
    revive = [row.record_id for row in back if row.state == "deleted" and row.was]
    _set_active(
        connection,
        {**parameters, "record_ids": revive},
        True,
        "lead_restored",
        "Active again: the record is back in Airtable.",
    )
    connection.execute(
        text(
            "UPDATE reconciler.tombstone SET state = 'returned', listings = 0, archived = NULL, "
            "run_id = :run_id WHERE client_id = :client_id AND record_id = ANY(:record_ids)"
        ),
        {**parameters, "record_ids": [row.record_id for row in back]},
    )
    return len(back)


def decide(
    connection: Connection,
    client_id: str,
    record_ids: Collection[str] | None,
    state: State,
    decided_by: str,
) -> list[str]:
    """A person's word on deletions that wait for one; all of them where no ids are given.

    Returns the records that were decided on.
    """
    rows = connection.execute(
        text(
            "UPDATE reconciler.tombstone SET state = :state, decided_by = :decided_by, "
            "decided_at = clock_timestamp() WHERE client_id = :client_id "
            "AND state IN ('awaiting_approval', 'rejected') "
            "AND CASE WHEN :everything THEN state = 'awaiting_approval' "
            "ELSE record_id = ANY(:record_ids) END RETURNING record_id"
        ),
        {
            "client_id": client_id,
            "everything": record_ids is None,
            "record_ids": list(record_ids or ()),
            "state": state,
            "decided_by": decided_by,
        },
    )
    return list(rows.scalars())


def to_look_at(connection: Connection, client_id: str, minutes: int) -> datetime | None:
    """When the record was created whose absence most needs a second listing; None without one."""
    return connection.execute(
        text(
            "SELECT created_time FROM reconciler.tombstone WHERE client_id = :client_id "
            "AND state = 'missing' "
            "AND looked_at < clock_timestamp() - make_interval(mins => :minutes) "
            "ORDER BY looked_at, created_time LIMIT 1"
        ),
        {"client_id": client_id, "minutes": minutes},
    ).scalar()
