"""What goes with the engine's schema that people would miss."""

from __future__ import annotations

from sqlalchemy import Connection, text

from reconciler_dagster.core.words import counted

# What, and how many there are of it.
_LOSSES = {
    "lead with edits that Airtable has not got yet": "SELECT count(DISTINCT u.lead_id) "
    "FROM reconciler.unsettled u JOIN reconciler.baseline b USING (client_id, record_id)",
    "value that lost in a conflict and was not taken back": "SELECT count(*) "
    "FROM reconciler.conflict WHERE restored_at IS NULL",
    "cell in quarantine": "SELECT count(*) FROM reconciler.quarantine",
    "decision on a deletion, or deletion that waits for one": "SELECT count(*) "
    "FROM reconciler.tombstone WHERE state IN ('awaiting_approval', 'approved', 'rejected')",
    "approval of a client's adoption": "SELECT count(*) FROM reconciler.adoption "
    "WHERE rehearsal_id IS NOT NULL",
}


def losses(connection: Connection) -> list[str]:
    """What would be lost, a line each; empty where nobody would miss anything."""
    found = []
    for what, count in _LOSSES.items():
        number = connection.execute(text(count)).scalar_one()
        if number:
            noun, _, rest = what.partition(" ")
            found.append(f"{counted(number, noun)} {rest}".strip())
    return found
