"""Whether anything in Postgres waits for a client's next run."""

from __future__ import annotations

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair

# Edits of the portal, also those noted as another client's or as nobody's; writes without an
# answer; deletions that a person has approved of; and people who wait for a sync.
_WAITS = text("""
    SELECT EXISTS (SELECT FROM reconciler.unsettled
            WHERE client_id = :client_id AND sync = :sync)
        OR EXISTS (SELECT FROM reconciler.unsettled u JOIN reconciler.baseline b
            ON b.client_id = :client_id AND b.sync = :sync AND b.record_id = u.record_id
            WHERE u.client_id IS DISTINCT FROM :client_id AND u.sync = :sync)
        OR EXISTS (SELECT FROM reconciler.journal
            WHERE client_id = :client_id AND sync = :sync AND state <> 'acknowledged')
        OR EXISTS (SELECT FROM reconciler.tombstone
            WHERE client_id = :client_id AND sync = :sync AND state = 'approved')
        OR EXISTS (SELECT FROM reconciler.manual_sync_request
            WHERE client_id = :client_id AND state IN ('pending', 'started'))
""")
_WITH_EDITS = text("""
    SELECT client_id::text FROM reconciler.unsettled WHERE client_id IS NOT NULL
    UNION SELECT b.client_id::text FROM reconciler.unsettled u JOIN reconciler.baseline b
        ON b.sync = u.sync AND b.record_id = u.record_id WHERE u.client_id IS NULL
""")


def is_at_rest(connection: Connection, pair: Pair) -> bool:
    """Nothing waits; what is in quarantine may be due all the same."""
    return not connection.execute(_WAITS, pair.keys).scalar_one()


def with_edits(connection: Connection) -> set[str]:
    """The ids of the clients whose edits wait."""
    return set(connection.execute(_WITH_EDITS).scalars())
