"""What a failed run's sentence means: its kind of cause, and which ones are the same. Pure."""

from __future__ import annotations

import re

from reconciler_dagster.core.month import USED_UP
from reconciler_dagster.notices.words import without_lead_data

# How our own sentences begin; a test makes each of them happen.
_KNOWN = (
    ("token_refused", re.compile(r"AIRTABLE_API_KEY is not accepted")),
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


def key_of(kind: str, message: str) -> str:
    """The same for all clients that fail for the same reason."""
    if kind != "runs_fail":
        return ""
    return _NUMBERS.sub("0", without_lead_data(message))[:200]
