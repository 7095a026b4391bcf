"""Airtable's ids: a prefix of three letters and 14 characters of base 62 (Airtable facts §1)."""

import random
import re
import string

_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits
_SHAPE = re.compile(r"[a-z]{3}[A-Za-z0-9]{14}")
_system = random.SystemRandom()


def new_id(prefix: str, source: random.Random = _system) -> str:
    """Return a fresh id such as `rec8lFiGx4kVvDrnq`; a seeded `source` makes it repeatable."""
    return prefix + "".join(source.choices(_ALPHABET, k=14))


def is_id(text: object, prefix: str) -> bool:
    """Tell whether `text` has the shape of an id with this prefix."""
    return isinstance(text, str) and text.startswith(prefix) and bool(_SHAPE.fullmatch(text))
