"""The values of the formula language and their coercions (Airtable facts §9)."""

import math
from datetime import UTC, datetime
from typing import Any

from dateutil import parser as dateutil_parser

Value = Any
"""None (blank), str, float, bool, datetime (with zone) or a list of these."""

MAX_TEXT = 100_000
"""Longest text of a cell, and so of a result (Airtable facts §5)."""


class FormulaError(Exception):
    """`#ERROR!`: spreads through every function but ISERROR."""


def number(value: Value) -> float:
    """Return the value as a number; blank is 0. Raises FormulaError for other text."""
    if isinstance(value, (float, int)):
        return float(value)
    if value is None or value == "":
        return 0.0
    if isinstance(value, list):
        return number(value[0]) if len(value) == 1 else number(text(value))
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise FormulaError from None
    raise FormulaError


def integer(value: Value) -> int:
    """Return the value as a whole number. Raises FormulaError for NaN and infinity."""
    amount = number(value)
    if not math.isfinite(amount):
        raise FormulaError
    return int(amount)


def number_text(amount: float) -> str:
    """Write a number without a trailing `.0`."""
    if math.isnan(amount):
        return "NaN"
    if math.isinf(amount):
        return "Infinity" if amount > 0 else "-Infinity"
    return str(int(amount)) if amount == int(amount) and abs(amount) < 1e15 else repr(amount)


def text(value: Value) -> str:
    """Return the value as text; blank is empty, lists are joined by a comma and a blank."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (float, int)):
        return number_text(float(value))
    if isinstance(value, datetime):
        return moment_text(value)
    return ", ".join(text(item) for item in value)


def moment_text(moment: datetime) -> str:
    """Write a date and time as Airtable does, UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(written: str) -> datetime:
    """Read a date, or a date and time, UTC unless it names a zone. Raises FormulaError."""
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        try:
            moment = dateutil_parser.parse(written, default=datetime(2000, 1, 1))
        except (ValueError, OverflowError, TypeError, AttributeError):
            raise FormulaError from None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise FormulaError from None


def moment(value: Value) -> datetime | None:
    """Return the value as a date and time; blank stays blank. Raises FormulaError."""
    if isinstance(value, datetime):
        return value
    if value is None or value == "":
        return None
    if isinstance(value, list) and len(value) == 1:
        return moment(value[0])
    if isinstance(value, str):
        return parse_moment(value)
    raise FormulaError


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the sandbox's time as a date and time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def blank(value: Value) -> bool:
    """Tell whether the value is blank: nothing, empty text or an empty list."""
    return value is None or value == "" or value == []


def truth(value: Value) -> bool:
    """Tell whether a condition holds: not 0, false, "", NaN or [] (Airtable facts §3)."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return bool(value)


def equal(left: Value, right: Value) -> bool:
    """Compare as `=` does: "", BLANK(), 0 and FALSE() are all equal."""
    if left is None or right is None:
        other = right if left is None else left
        return not other
    if isinstance(left, (float, int)) and isinstance(right, (float, int)):
        return float(left) == float(right)
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left == right
    if left == "" or right == "":
        other = right if left == "" else left
        return not other
    return text(left) == text(right)


def less(left: Value, right: Value) -> bool:
    """Order as `<` does: numbers and dates by size, everything else as text."""
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left < right
    if isinstance(left, (str, datetime)) or isinstance(right, (str, datetime)):
        return text(left) < text(right)
    return number(left) < number(right)
