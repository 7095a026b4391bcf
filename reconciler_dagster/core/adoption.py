"""Consent: whether a client may be written, on either side. Pure."""

from __future__ import annotations

from collections.abc import Iterable
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
    """How a client stands. ``since``, ``by``: when and by whom that was said; None of a new one.
    ``syncs``: which of its syncs were adopted; None: every one that it has or gets.
    """

    client_id: str
    name: str
    state: State = State.NEW
    since: datetime | None = None
    by: str | None = None
    syncs: frozenset[str] | None = None

    def new_syncs(self, names: Iterable[str]) -> list[str]:
        """Which of an adopted client's syncs are new: they came after the person's yes, which was
        not about them. None of a client of which nothing may be written anyway.
        """
        if self.state is not State.ADOPTED or self.syncs is None:
            return []
        return [name for name in names if name not in self.syncs]

    def why_without(self, names: Iterable[str]) -> list[str]:
        """Why nothing of its new syncs is written and what to do, in one sentence; empty where none
        is new.
        """
        new = self.new_syncs(names)
        if not new:
            return []
        whose, is_new, it = (
            (f"The sync {new[0]}", "is", "it")
            if len(new) == 1
            else (f"The syncs {', '.join(new)}", "are", "them")
        )
        return [
            f"{whose} of {self.name} {is_new} new: nothing of {it} is written on either side "
            "before a person approves. See what would be done with `reconciler adopt --client "
            f"{self.client_id}`, then approve with --approve."
        ]

    @property
    def why_not(self) -> str | None:
        """Why nothing of it is written and what to do; None where it may be written."""
        if self.state is State.ADOPTED:
            return None
        if self.state is State.NEW:
            return (
                f"{self.name} is new: nothing of it is written on either side before a person "
                "approves. See what would be done with `reconciler adopt --client "
                f"{self.client_id}`, and approve with --approve."
            )
        since = f" since {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.since else ""
        by = f" by {self.by}" if self.by else ""
        return (
            f"{self.name} is paused{since}{by}: nothing of it is written on either side. Edits are "
            f"noted meanwhile; `reconciler resume --client {self.client_id}` goes on with them."
        )

    def require(self, *syncs: str) -> None:
        """Raise NotAdopted unless it may be written, and these syncs of it."""
        if why_not := self.why_not or " ".join(self.why_without(syncs)):
            raise NotAdopted(why_not)
