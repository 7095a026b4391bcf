"""What a run looks at. Everything the engine does is the same three steps on another scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Scope:
    """``changed``: what either side changed since the last time. ``created``: every lead whose
    creation lies in the half-open window, on both sides and in the baseline; None is open.
    """

    kind: Literal["changed", "created"]
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_window(self) -> bool:
        """Whether it names all leads of a window, so that an absent one counts as absent."""
        return self.kind == "created"

    def holds(self, created_time: datetime) -> bool:
        """Whether a record of that creation time belongs to the window."""
        after = self.start is None or created_time >= self.start
        return after and (self.end is None or created_time < self.end)

    def __str__(self) -> str:
        if not self.is_window:
            return "changed"
        return f"created {self.start or 'ever'} to {self.end or 'now'}"


CHANGED = Scope("changed")
EVERYTHING = Scope("created")
