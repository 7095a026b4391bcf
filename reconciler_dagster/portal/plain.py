"""What a customer's people are told of a run: one of these sentences, never its own text.

A run's reason may quote Postgres, Airtable or Python: hosts, statements, paths. It is written for
the operator (SUPER_ADMIN). For everybody else it is a positive list: what is not known here becomes
the sentence that says nothing but whom to ask.
"""

from __future__ import annotations

import re
from typing import Any

from reconciler_dagster.portal.auth import Role, User

UNKNOWN = "The sync failed. The operator of this portal sees why."
_SENTENCES = tuple(
    (re.compile(begins), sentence)
    for begins, sentence in (
        (
            r"Airtable answered 429 PUBLIC_API_BILLING_LIMIT_EXCEEDED",
            "The calls to Airtable that the workspace has for this month are used up. Syncs go on "
            "when the month turns, or once the workspace has a larger plan.",
        ),
        (
            r"Airtable answered (nothing|200|5\d\d)",
            "Airtable did not answer as it should. The next sync tries again by itself.",
        ),
        (
            r"Airtable answered 429",
            "Airtable asked to be called less often. The next sync tries again by itself.",
        ),
        (
            r"AIRTABLE_API_KEY is not accepted|The Airtable token of |Airtable answered 40[13]"
            r"|Base \S+ cannot be read",
            "Airtable does not let this portal into the base. The operator of this portal has to "
            "renew its access.",
        ),
        (
            r"The run was stopped\. ",
            "The sync was stopped before it wrote anything: it would have emptied cells of many "
            "leads in Airtable. The operator of this portal has to confirm that this is meant.",
        ),
        (
            r"Base \S+ has no table",
            "The base in Airtable has no table of the name that this portal reads. Give it that "
            "name back, or ask the operator of this portal to set the new one.",
        ),
        (
            r"No call to Airtable can be made with these settings",
            "This portal cannot call Airtable with its settings. The operator of this portal has "
            "to mend them.",
        ),
        (
            r"(Row level security|The database role|Edits in Postgres|Edits by|\S+ is [^;]*; "
            r"expected a table)",
            "The portal's database does not let the sync do its work, so nothing was written. The "
            "operator of this portal sees what to change.",
        ),
        (
            r"This client's base or table was changed|[^\n]{1,255} (has another base or table than"
            r" when the run began|was given another base while the run began)",
            "The base or its table was changed while the sync was at work. The next sync uses the "
            "new one.",
        ),
        (
            r"Run \S+ is writing for client|Client \S+ may have been written for",
            "Another sync was at work for the same leads. The next one goes on.",
        ),
        (
            r"The run (died|ended without a word|was cut off|was interrupted)|Of \d+ records "
            r"that this run had",
            "The sync was cut off. The next one goes on with what is left.",
        ),
    )
)
_STOPPED = re.compile(
    r"'[^'\n]{1,255}' is stopped: (the table has no such field; add it or rename it back"
    r"|it is of type \w+, expected \w+( or \w+)*; change it back)\."
)
_NAME_OF_STOPPED = re.compile(r"('[^'\n]{1,255}') is stopped\b")
# After this somebody else speaks: Airtable, or the database.
_REFUSAL = re.compile(r"(.{0,255}?\b(Airtable|Postgres) refuses [^:]{1,255}):", re.DOTALL)


def run_message(user: User, message: str | None) -> str | None:
    """Why a run failed, in words for this user; None where there is nothing to say."""
    if message is None or user.role is Role.SUPER_ADMIN:
        return message
    for begins, sentence in _SENTENCES:
        if begins.match(message):
            return sentence
    return UNKNOWN


def stopped_field(user: User, problem: str) -> str:
    """Why a field is stopped. What Airtable's table lacks is theirs to mend, and told in full."""
    if user.role is Role.SUPER_ADMIN or _STOPPED.fullmatch(problem):
        return problem
    name = _NAME_OF_STOPPED.match(problem)
    field = name.group(1) if name else "A field"
    return f"{field} is stopped. The operator of this portal sees why."


def refusal(user: User, reason: str) -> str:
    """Why a cell is in quarantine, without what Airtable or the database said of it."""
    if user.role is Role.SUPER_ADMIN:
        return reason
    found = _REFUSAL.match(reason)
    return f"{found.group(1)}. The operator of this portal sees why." if found else reason


def report(user: User, drift: dict[str, Any]) -> dict[str, Any]:
    """A client's drift report (``postgres.report.drift_report``) in words for this user."""
    return {
        **drift,
        "stopped_fields": [stopped_field(user, each) for each in drift["stopped_fields"]],
        "last_failure": run_message(user, drift["last_failure"]),
    }
