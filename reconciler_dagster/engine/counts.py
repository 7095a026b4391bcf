"""What a run did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Counts:
    """What a run did. Records, but for ``airtable_calls``: calls sent on the wire."""

    airtable_calls: int = 0
    pulled: int = 0
    local_writes: int = 0
    remote_writes: int = 0
    conflicts: int = 0
    quarantined: int = 0
    deletions: int = 0
    deletions_pending: int = 0

    def add(self, other: Counts) -> None:
        """Add another part of the same run."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
