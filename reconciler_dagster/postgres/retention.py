"""What the engine forgets of its runs."""

from __future__ import annotations

from sqlalchemy import Connection, text


def forget_summaries(connection: Connection, days: int) -> int:
    """Drop summaries of runs that ended longer ago; the latest of each client and purpose stays."""
    dropped = connection.execute(
        text(
            "DELETE FROM reconciler.run_summary s WHERE s.state <> 'started' "
            "AND s.finished_at < clock_timestamp() - make_interval(days => :days) "
            "AND EXISTS (SELECT FROM reconciler.run_summary later "
            "WHERE later.client_id = s.client_id AND later.purpose = s.purpose "
            "AND later.state = s.state AND later.started_at > s.started_at)"
        ),
        {"days": days},
    )
    return dropped.rowcount
