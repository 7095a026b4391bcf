"""The codec of days without a time. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any

from dateutil.parser import isoparse

from reconciler_dagster.core.codecs import Codec
from reconciler_dagster.core.values import Directory, Unreadable, Value

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, kw_only=True)
class Date(Codec):
    """A day, ``YYYY-MM-DD``. ``moments``: the column holds moments, of which the day in UTC counts;
    a day becomes its midnight.
    """

    moments: bool = field(default=False, repr=False)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        text = str(cell)
        try:
            if _DAY.fullmatch(text):
                return date.fromisoformat(text).isoformat()
            moment = isoparse(text)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            return moment.astimezone(UTC).date().isoformat()
        except (ValueError, OverflowError):
            raise Unreadable(f"is '{text[:40]}', which is no date: correct it") from None

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        return self.from_airtable(value, users)

    def to_postgres(self, value: Value, users: Directory) -> Any:
        """See Codec."""
        return f"{value}T00:00:00Z" if self.moments and value is not None else value
