"""Whether anything in Postgres waits for a client's next run."""

from __future__ import annotations

from sqlalchemy import Connection, text

from reconciler_dagster.core.sync import Pair

# Edits of the portal, writes without an answer, and deletions that a person has approved of.
_WAITS = text("""
    SELECT EXISTS (SELECT FROM reconciler.unsettled
            WHERE client_id = :client_id AND sync = :sync)
        OR EXISTS (SELECT FROM reconciler.journal
            WHERE client_id = :client_id AND sync = :sync AND state <> 'acknowledged')
        OR EXISTS (SELECT FROM reconciler.tombstone
            WHERE client_id = :client_id AND sync = :sync
            AND state = 'approved')
""")


def is_at_rest(connection: Connection, pair: Pair) -> bool:
    """Nothing waits; what is in quarantine may be due all the same."""
    return not connection.execute(_WAITS, pair.keys).scalar_one()


def with_edits(connection: Connection) -> set[str]:
    """The ids of the clients whose edits wait."""
    rows = connection.execute(text("SELECT DISTINCT client_id::text FROM reconciler.unsettled"))
    return set(rows.scalars())
