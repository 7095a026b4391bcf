"""How long the engine keeps what grows: one place for all tables. Pure.

What is not named here does not grow with time: it is as large as the bases are, or empties itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler_dagster.core.due import GLANCE

# Beside what a setting says.
YEAR = 366


@dataclass(frozen=True)
class Kept:
    """``where``: which rows of the table ``t`` may go once they are older; ``by``: the column that
    tells their age; ``days``: how long they are kept, None: as RECONCILER_HISTORY_DAYS says.
    """

    table: str
    by: str
    days: int | None
    what: str
    where: str = "true"


# Nobody asks for more than the last word and the last success of a client.
_NOT_THE_LAST = """counted AND EXISTS (SELECT FROM reconciler.run_summary later
    WHERE later.client_id = t.client_id AND later.purpose = t.purpose
    AND (later.state = 'succeeded' OR later.state = t.state)
    AND later.started_at > t.started_at)"""
# Of a table that is named twice the first one is shown to people.
KEPT = (
    Kept("history", "changed_at", None, "every change that a run wrote"),
    Kept("journal", "acknowledged_at", None, "what was sent to Airtable", "state = 'acknowledged'"),
    Kept(
        "run_summary",
        "finished_at",
        None,
        "what each run did; the last word and the last success of each client stay",
        _NOT_THE_LAST,
    ),
    Kept(
        "run_summary",
        "finished_at",
        1,
        "glances that showed nothing, but for the last one of each client",
        f"scope = '{GLANCE}' AND {_NOT_THE_LAST}",
    ),
    Kept(
        "manual_sync_request",
        "finished_at",
        None,
        "requests that were answered",
        "state IN ('succeeded', 'failed')",
    ),
    Kept("conflict", "happened_at", None, "what lost where both sides were edited"),
    Kept("fight", "seen_at", None, "cells that another writer kept changing back"),
    Kept(
        "rehearsal",
        "rehearsed_at",
        None,
        "rehearsals that nobody approved",
        "approved_at IS NULL",
    ),
    Kept(
        "adoption_request",
        "finished_at",
        None,
        "rehearsals and approvals that were answered",
        "finished_at IS NOT NULL",
    ),
    Kept("call_log", "hour", YEAR + 31, "calls by hour"),
    Kept("notice", "changed_at", YEAR, "notices that are over", "state = 'over'"),
)
