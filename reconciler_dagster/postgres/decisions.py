"""Deletions that wait for a person, and what the person says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, text

from reconciler_dagster.core.deletions import State
from reconciler_dagster.core.sync import Pair


def pending(connection: Connection, pair: Pair) -> int:
    """Deletions that wait for a person."""
    return int(
        connection.execute(
            text(
                "SELECT count(*) FROM reconciler.tombstone "
                "WHERE client_id = :client_id AND sync = :sync AND state = 'awaiting_approval'"
            ),
            pair.keys,
        ).scalar_one()
    )


def pending_by_client(connection: Connection) -> Counter[str]:
    """Deletions of each client that wait for a person, in any of its syncs."""
    rows = connection.execute(
        text(
            "SELECT client_id::text, count(*) FROM reconciler.tombstone "
            "WHERE state = 'awaiting_approval' GROUP BY client_id"
        )
    )
    return Counter({row[0]: row[1] for row in rows})


def decide(
    connection: Connection,
    pair: Pair,
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
            "decided_at = clock_timestamp() WHERE client_id = :client_id AND sync = :sync "
            "AND state IN ('awaiting_approval', 'rejected') "
            "AND CASE WHEN :everything THEN state = 'awaiting_approval' "
            "ELSE record_id = ANY(:record_ids) END RETURNING record_id"
        ),
        {
            **pair.keys,
            "everything": record_ids is None,
            "record_ids": list(record_ids or ()),
            "state": state,
            "decided_by": decided_by,
        },
    )
    return list(rows.scalars())
