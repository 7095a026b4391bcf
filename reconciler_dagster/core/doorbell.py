"""When edits in the portal call for a run at once."""

from __future__ import annotations

from dataclasses import dataclass

# Of the calls that a base allows, the share that runs for edits may spend.
SHARE = 0.2
# Somebody who goes on editing is waited for so many settle times.
PATIENCE = 6


@dataclass(frozen=True)
class Edits:
    """A client's edits since its last run began; times are seconds ago.

    ``last_run``: None where there never was one. ``calls``: of Airtable that it took.
    """

    client_id: str
    newest: float
    oldest: float
    last_run: float | None
    calls: int


def is_due(edits: Edits, settle: float, calls_per_second: float) -> bool:
    """Whether they ring: nobody has edited for ``settle`` seconds, or somebody has gone on for
    `PATIENCE` times as long; and the last run's calls are earned back at `SHARE` of the rate.
    """
    settled = edits.newest >= settle or edits.oldest >= PATIENCE * settle
    earned = edits.last_run is None or edits.last_run * SHARE * calls_per_second >= edits.calls
    return settled and earned
