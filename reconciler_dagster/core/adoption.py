"""Consent: whether a client may be written, on either side. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class State(StrEnum):
    """Of a client. NEW: nobody has adopted it yet, so nothing of it is written."""

    NEW = "new"
    ADOPTED = "adopted"
    PAUSED = "paused"


class NotAdopted(Exception):
    """Nothing of this client may be written; the message says why and what to do."""


@dataclass(frozen=True)
class Standing:
    """How a client stands. ``since``, ``by``: when and by whom that was said; None of a new one."""

    client_id: str
    name: str
    state: State = State.NEW
    since: datetime | None = None
    by: str | None = None

    @property
    def why_not(self) -> str | None:
        """Why nothing of it is written and what to do; None where it may be written."""
        if self.state is State.ADOPTED:
            return None
        if self.state is State.NEW:
            return (
                f"{self.name} is new: nothing of it is written on either side before a person has "
                f"seen what would be. Look with `reconciler adopt --client {self.client_id}`, and "
                "approve with --approve."
            )
        since = f" since {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.since else ""
        by = f" by {self.by}" if self.by else ""
        return (
            f"{self.name} is paused{since}{by}: nothing of it is written on either side. Edits are "
            f"noted meanwhile; `reconciler resume --client {self.client_id}` goes on with them."
        )

    def require(self) -> None:
        """Raise NotAdopted unless it may be written."""
        if why_not := self.why_not:
            raise NotAdopted(why_not)
