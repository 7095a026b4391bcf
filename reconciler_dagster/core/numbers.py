"""Codecs of numbers with decimals: number, currency, percent, duration. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from reconciler_dagster.core.codecs import Codec, kind
from reconciler_dagster.core.values import Directory, Unreadable, Value

# Beyond the last decimal of a column: what arithmetic in binary leaves behind.
_NOISE = 1e-9
# What a numeric without limits, or a double, can hold.
_DIGITS = 15


@dataclass(frozen=True, kw_only=True)
class Decimal(Codec):
    """A number with up to ``scale`` decimals, None for any; fewer than ``digits`` before the point.

    Canonical: an int where it is whole, else a float, whose 15 digits are what Airtable keeps.
    ``rounds``: further decimals are cut off; else such a cell is not read.
    """

    scale: int | None = field(default=None, repr=False)
    digits: int = field(default=_DIGITS, repr=False)
    rounds: bool = field(default=False, repr=False)

    def read(self, cell: Any, users: Directory) -> Value:
        """See Codec."""
        if isinstance(cell, bool) or not isinstance(cell, int | float) or not math.isfinite(cell):
            raise Unreadable(f"holds {kind(cell)} where a number was expected")
        if abs(cell) >= 10**self.digits:
            raise Unreadable(
                "is a number too large for the column: correct it, or widen the column"
            )
        if self.scale is None:
            return _whole(cell)
        number = round(cell, self.scale)
        if not self.rounds and abs(cell - number) > _NOISE * max(1.0, abs(cell)):
            raise Unreadable(
                f"is {cell:.15g}, and the column takes {self.scale} decimals: round it there"
            )
        return _whole(number)

    def from_postgres(self, value: Any, users: Directory) -> Value:
        """See Codec."""
        number = super().from_postgres(value, users)
        return _whole(number) if isinstance(number, int | float) else number


def _whole(number: float) -> float:
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else number
