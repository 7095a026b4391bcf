"""What a failed run's sentence means: its kind of cause, and which ones are the same. Pure."""

from __future__ import annotations

import re

from reconciler_dagster.core.month import USED_UP
from reconciler_dagster.notices.words import without_lead_data
from reconciler_dagster.postgres.client_tokens import SEALED

# How our own sentences begin; a test makes each of them happen.
_WHOSE = (
    r"(?:(?P<default>AIRTABLE_API_KEY)|The Airtable token of .+ \((?P<place>[^()]+|the file .+)\))"
)
_TOKEN = re.compile(rf"{_WHOSE} is not accepted")
_SCOPES = re.compile(rf"{_WHOSE} (?P<lacks>lacks [a-z.:]+(?: and [a-z.:]+)*) in the base of ")
_KNOWN = (
    ("token_refused", _TOKEN),
    ("scope_lost", _SCOPES),
    ("month_gone", re.compile(re.escape(USED_UP))),
    ("base_gone", re.compile(r"Base \S+ (?:cannot be read|has no table)")),
    ("base_gone", re.compile(r"Airtable answered 40[34] (?:\w*NOT_FOUND|INVALID_PERMISSIONS_OR)")),
    ("changes_wait", re.compile(r"The run was stopped\. .*allow_mass_clear", re.DOTALL)),
)
_NUMBERS = re.compile(r"\d+")
# Two failures in a row are no accident; of these kinds one is enough.
AT_ONCE = frozenset(kind for kind, _ in _KNOWN)


def kind_of(message: str) -> str:
    """The kind of cause behind a failed run."""
    return next((kind for kind, form in _KNOWN if form.search(message)), "runs_fail")


def key_of(kind: str, message: str, client_id: str) -> str:
    """The same for all clients that fail for the same reason: of a token, for all that it belongs
    to.
    """
    if kind in ("token_refused", "scope_lost"):
        place = token_of(message)
        return f"{place} {client_id}" if place == SEALED else place
    if kind != "runs_fail":
        return ""
    return _NUMBERS.sub("0", without_lead_data(message))[:200]


def token_of(message: str) -> str:
    """Where the token is kept that is refused or lacks a scope, as the sentence says."""
    found = _TOKEN.search(message) or _SCOPES.search(message)
    return (found["default"] or found["place"]) if found else ""


def lack_of(message: str) -> str:
    """Whose token lacks what, as the sentence says."""
    found = _SCOPES.search(message)
    return f"{token_of(message)} {found['lacks']}" if found else ""
