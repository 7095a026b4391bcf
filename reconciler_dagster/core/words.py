"""How numbers are said."""

from __future__ import annotations

# How a refusal says that a select of Airtable's does not have the value.
NO_OPTION = "is no option of the Airtable field"
MEND_OPTION = "add the option or choose another value"


def counted(number: int, noun: str) -> str:
    """A count with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
