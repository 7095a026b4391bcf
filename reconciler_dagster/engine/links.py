"""Links that waited for their rows: filled in the run that has brought these."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler_dagster.engine.rounds import push_all
from reconciler_dagster.engine.session import Session
from reconciler_dagster.postgres import quarantine


def fill_links(sessions: Iterable[Session], *, in_turns: bool = False) -> int:
    """Once every sync of a run has been pushed: read the records again whose links can be resolved
    by now, and carry them out. Returns how many writes stayed without an answer.

    ``in_turns``: the run does not hold the client, which it then does for each hundred.
    """
    unknown, chosen, filled = 0, list(sessions), False
    for session in chosen:
        if not session.pair.links:
            continue
        with session.engine.connect() as connection:
            record_ids = quarantine.resolvable(connection, session.pair)
        if record_ids:
            filled, locked = True, session.turn if in_turns else None
            unknown += len(push_all(session, record_ids, locked).unknown)
    # What waited for a row waits no more, and columns may wait that follow another sync's.
    for session in chosen if filled or len(chosen) > 1 else ():
        with session.engine.connect() as connection:
            session.counts.quarantined = len(quarantine.records(connection, session.pair))
    return unknown
