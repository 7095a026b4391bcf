"""A hook for schemathesis: a usable Idempotency-Key is used once.

Two generated requests with one key are rightly answered with 422, which says nothing about either.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import schemathesis

_USES = count()


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case, kwargs: Any) -> None:
    """Give the key a suffix of its own. An invalid request stays just as it was generated."""
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    for name, key in (case.headers or {}).items():
        if name.lower() == "idempotency-key" and re.fullmatch(r"[\x21-\x7e]{1,255}", str(key)):
            suffix = f"-{next(_USES)}"
            case.headers[name] = f"{key[: 255 - len(suffix)]}{suffix}"
