"""Moment.js formats for DATETIME_FORMAT and DATETIME_PARSE."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from reconciler_dagster.sandbox.formulas.values import FormulaError

_TOKEN = re.compile(
    r"\[[^\]]*\]|YYYY|YY|Qo|Q|MMMM|MMM|MM|Mo|M|DDDD|DDD|Do|DD|D|dddd|ddd|dd|d|"
    r"HH|H|hh|h|kk|k|mm|m|ss|s|SSS|SS|S|A|a|ZZ|Z|X|x|LLLL|LLL|LL|LT|L|ww|w|E|W",
)
_MONTHS = [f"{datetime(2000, month, 1):%B}" for month in range(1, 13)]
_DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_LONG = {
    "LLLL": "dddd, MMMM D, YYYY h:mm A",
    "LLL": "MMMM D, YYYY h:mm A",
    "LL": "MMMM D, YYYY",
    "L": "MM/DD/YYYY",
    "LT": "h:mm A",
}


def _ordinal(count: int) -> str:
    if count % 100 in (11, 12, 13):
        return f"{count}th"
    return f"{count}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(count % 10, 'th') }"


def _offset(moment: datetime, colon: str) -> str:
    minutes = int((moment.utcoffset() or UTC.utcoffset(None)).total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{colon}{abs(minutes) % 60:02d}"


_WRITE: dict[str, Callable[[datetime], str]] = {
    "YYYY": lambda t: f"{t.year:04d}",
    "YY": lambda t: f"{t.year % 100:02d}",
    "Q": lambda t: str((t.month + 2) // 3),
    "Qo": lambda t: _ordinal((t.month + 2) // 3),
    "MMMM": lambda t: _MONTHS[t.month - 1],
    "MMM": lambda t: _MONTHS[t.month - 1][:3],
    "MM": lambda t: f"{t.month:02d}",
    "Mo": lambda t: _ordinal(t.month),
    "M": lambda t: str(t.month),
    "DDDD": lambda t: f"{t.timetuple().tm_yday:03d}",
    "DDD": lambda t: str(t.timetuple().tm_yday),
    "Do": lambda t: _ordinal(t.day),
    "DD": lambda t: f"{t.day:02d}",
    "D": lambda t: str(t.day),
    "dddd": lambda t: _DAYS[t.isoweekday() % 7],
    "ddd": lambda t: _DAYS[t.isoweekday() % 7][:3],
    "dd": lambda t: _DAYS[t.isoweekday() % 7][:2],
    "d": lambda t: str(t.isoweekday() % 7),
    "E": lambda t: str(t.isoweekday()),
    "HH": lambda t: f"{t.hour:02d}",
    "H": lambda t: str(t.hour),
    "hh": lambda t: f"{(t.hour + 11) % 12 + 1:02d}",
    "h": lambda t: str((t.hour + 11) % 12 + 1),
    "kk": lambda t: f"{t.hour or 24:02d}",
    "k": lambda t: str(t.hour or 24),
    "mm": lambda t: f"{t.minute:02d}",
    "m": lambda t: str(t.minute),
    "ss": lambda t: f"{t.second:02d}",
    "s": lambda t: str(t.second),
    "SSS": lambda t: f"{t.microsecond // 1000:03d}",
    "SS": lambda t: f"{t.microsecond // 10000:02d}",
    "S": lambda t: str(t.microsecond // 100000),
    "A": lambda t: "AM" if t.hour < 12 else "PM",
    "a": lambda t: "am" if t.hour < 12 else "pm",
    "Z": lambda t: _offset(t, ":"),
    "ZZ": lambda t: _offset(t, ""),
    "X": lambda t: str(int(t.timestamp())),
    "x": lambda t: str(int(t.timestamp() * 1000)),
    "ww": lambda t: f"{int(t.strftime('%U')) + 1:02d}",
    "w": lambda t: str(int(t.strftime("%U")) + 1),
    "W": lambda t: str(t.isocalendar().week),
}


def write_moment(moment: datetime, form: str) -> str:
    """Write a date and time in a Moment.js format."""

    def replaced(found: re.Match[str]) -> str:
        token = found[0]
        if token.startswith("["):
            return token[1:-1]
        return write_moment(moment, _LONG[token]) if token in _LONG else _WRITE[token](moment)

    return _TOKEN.sub(replaced, form)


_READ: dict[str, tuple[str, str]] = {
    "YYYY": ("year", r"\d{4}"),
    "YY": ("short_year", r"\d{2}"),
    "MMMM": ("month_name", r"[A-Za-z]+"),
    "MMM": ("month_name", r"[A-Za-z]+"),
    "MM": ("month", r"\d{1,2}"),
    "M": ("month", r"\d{1,2}"),
    "Do": ("day", r"\d{1,2}(?:st|nd|rd|th)"),
    "DD": ("day", r"\d{1,2}"),
    "D": ("day", r"\d{1,2}"),
    "HH": ("hour", r"\d{1,2}"),
    "H": ("hour", r"\d{1,2}"),
    "hh": ("hour", r"\d{1,2}"),
    "h": ("hour", r"\d{1,2}"),
    "mm": ("minute", r"\d{1,2}"),
    "m": ("minute", r"\d{1,2}"),
    "ss": ("second", r"\d{1,2}"),
    "s": ("second", r"\d{1,2}"),
    "SSS": ("thousandth", r"\d{3}"),
    "A": ("half", r"[AaPp][Mm]"),
    "a": ("half", r"[AaPp][Mm]"),
    "X": ("seconds", r"\d{1,11}"),
    "x": ("milliseconds", r"\d{1,14}"),
}


def read_moment(written: str, form: str) -> datetime:
    """Read a date and time in a Moment.js format. Raises FormulaError."""
    names: list[str] = []
    pattern, position = "", 0
    for found in _TOKEN.finditer(form):
        pattern += re.escape(form[position : found.start()])
        position = found.end()
        if found[0] in _READ:
            name, expression = _READ[found[0]]
            names.append(name)
            pattern += f"({expression})"
        elif found[0].startswith("["):
            pattern += re.escape(found[0][1:-1])
        else:
            pattern += r"\S+"
    matched = re.match(pattern + re.escape(form[position:]), written)
    if matched is None or not names:
        raise FormulaError
    return _assemble(dict(zip(names, matched.groups(), strict=True)))


def _assemble(parts: dict[str, str]) -> datetime:
    def whole(name: str, otherwise: int) -> int:
        return int(re.sub(r"\D", "", parts[name])) if name in parts else otherwise

    try:
        if "milliseconds" in parts:
            return datetime.fromtimestamp(whole("milliseconds", 0) / 1000, UTC)
        if "seconds" in parts:
            return datetime.fromtimestamp(whole("seconds", 0), UTC)
        month = whole("month", 1)
        if "month_name" in parts:
            starts = [name[:3].lower() for name in _MONTHS]
            month = starts.index(parts["month_name"][:3].lower()) + 1
        hour = whole("hour", 0)
        if "half" in parts:
            hour = hour % 12 + (12 if parts["half"].lower() == "pm" else 0)
        year = whole("year", 2000 + whole("short_year", 0) if "short_year" in parts else 2001)
        return datetime(
            year,
            month,
            whole("day", 1),
            hour,
            whole("minute", 0),
            whole("second", 0),
            whole("thousandth", 0) * 1000,
            UTC,
        )
    except (ValueError, OverflowError, OSError):
        raise FormulaError from None
