"""What it takes to believe that a record was deleted in Airtable, and when a person must say so.

Two complete listings of its window without it, and a look by id just before; never many at once;
and never a lead on which nothing was ever agreed. Pure.
"""

from __future__ import annotations

from enum import StrEnum

LISTINGS_NEEDED = 2
# More than this within a day wait for a person: absolute, and as a share of the base ...
DELETIONS_ALLOWED = 100
DELETIONS_ALLOWED_SHARE = 0.05
# ... but a handful is nobody's accident, however small the base is.
DELETIONS_ALWAYS_ALLOWED = 5


class State(StrEnum):
    """Where a lead stands whose record Airtable does not list."""

    MISSING = "missing"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    DELETED = "deleted"
    RETURNED = "returned"


def too_many(gone: int, leads: int) -> bool:
    """Whether so many deletions of a base of ``leads`` leads look like an accident."""
    share = max(DELETIONS_ALWAYS_ALLOWED, DELETIONS_ALLOWED_SHARE * leads)
    return gone > min(DELETIONS_ALLOWED, share)


def is_suspicious(listed: int, absent: int, gone: int, leads: int) -> str | None:
    """Why the absences of a window are not acted on without a person; None where they may be.

    ``listed``, ``absent``: records of the window that Airtable listed, and known ones that it did
    not. ``gone``: missing or deleted leads of the whole base within a day; ``leads``: its size. All
    but ``listed`` count leads on which something was agreed; others wait for a person anyway.
    """
    if not listed and absent > DELETIONS_ALWAYS_ALLOWED:
        return f"Airtable listed none of the {absent} known records of the window."
    if too_many(gone, leads):
        return (
            f"{gone} of {leads} leads are missing from Airtable or were deleted within a day; "
            f"more than {DELETIONS_ALLOWED} or {DELETIONS_ALLOWED_SHARE:.0%} wait for a person."
        )
    return None


NEVER_MET = (
    "This lead was never synced, so only a person can tell whether its record was deleted: approve "
    "or reject its deletion."
)


def never_met(elsewhere: str | None) -> str:
    """Why a lead on which nothing was ever agreed waits for a person. ``elsewhere``: the client
    whose base has its record, if one is known.
    """
    if elsewhere is None:
        return NEVER_MET
    return (
        "This lead was never synced for this client, and its record is in the base of another "
        f"client ({elsewhere}): it was moved here. Move it back, or move the record."
    )


def after_absence(state: State | None, listings: int, suspicion: str | None) -> State:
    """The next state of a lead that a complete listing does not have.

    ``listings``: complete listings without it, this one included. ``suspicion``: why it is not
    deleted without a person, be it one of ``is_suspicious`` or of ``never_met``.
    """
    if state in (State.AWAITING_APPROVAL, State.APPROVED, State.REJECTED, State.DELETED):
        return state
    if listings < LISTINGS_NEEDED:
        return State.MISSING
    return State.AWAITING_APPROVAL if suspicion else State.DELETED
