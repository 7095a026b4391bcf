"""Values on their way into columns of type jsonb."""

from __future__ import annotations

from typing import Any

import orjson


def dump(value: Any) -> str:
    """JSON text for a jsonb parameter. A dataclass becomes an object, without a copy of it."""
    return orjson.dumps(value).decode()
