"""The shape of an Airtable record id: the one place that tells a record from anything else.

A portal may keep leads of its own beside those of the base, with no record id, an empty one or one
that it made up (``manual-17``). These are not Airtable's, so they cannot be missing from it.
"""

from __future__ import annotations

import re

PATTERN = "rec[A-Za-z0-9]{14}"
LENGTH = 17
# The same as a whole text, for Postgres' operator ~.
WHOLE = f"^{PATTERN}$"

_RECORD_ID = re.compile(PATTERN)


def is_record_id(text: object) -> bool:
    """Whether Airtable can have a record of this id."""
    return isinstance(text, str) and _RECORD_ID.fullmatch(text) is not None
