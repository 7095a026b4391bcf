"""Dates: UTC unless SET_TIMEZONE is used; units and formats as in Moment.js."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from reconciler_dagster.sandbox.formulas.functions.moment_format import read_moment, write_moment
from reconciler_dagster.sandbox.formulas.functions.registry import function
from reconciler_dagster.sandbox.formulas.values import (
    FormulaError,
    Value,
    from_milliseconds,
    integer,
    moment,
    number,
    parse_moment,
    text,
)

_UNITS = {
    "milliseconds": ("ms", "millisecond", "milliseconds"),
    "seconds": ("s", "second", "seconds"),
    "minutes": ("m", "minute", "minutes"),
    "hours": ("h", "hour", "hours"),
    "days": ("d", "day", "days"),
    "weeks": ("w", "week", "weeks"),
    "months": ("M", "month", "months"),
    "quarters": ("Q", "quarter", "quarters"),
    "years": ("y", "year", "years"),
}
_UNIT = {written: unit for unit, spellings in _UNITS.items() for written in spellings}
_SECONDS = {
    "milliseconds": 0.001,
    "seconds": 1.0,
    "minutes": 60.0,
    "hours": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}


def _unit(value: Value) -> str:
    written = text(value)
    found = _UNIT.get(written) or _UNIT.get(written.lower())
    if found is None:
        raise FormulaError
    return found


def _needed(value: Value) -> datetime:
    given = moment(value)
    if given is None:
        raise FormulaError
    return given


@function("IS_AFTER", 2, 2, "truth")
def _is_after(left: Value, right: Value) -> bool:
    first, second = moment(left), moment(right)
    return first is not None and second is not None and first > second


@function("IS_BEFORE", 2, 2, "truth")
def _is_before(left: Value, right: Value) -> bool:
    first, second = moment(left), moment(right)
    return first is not None and second is not None and first < second


@function("IS_SAME", 2, 3, "truth")
def _is_same(left: Value, right: Value, unit: Value = "millisecond") -> bool:
    first, second, size = moment(left), moment(right), _unit(unit)
    if first is None or second is None:
        return False
    return _start(first, size) == _start(second, size)


def _start(given: datetime, unit: str) -> datetime:
    """Return the start of the unit in which the moment lies."""
    match unit:
        case "milliseconds":
            return given.replace(microsecond=given.microsecond // 1000 * 1000)
        case "seconds":
            return given.replace(microsecond=0)
        case "minutes":
            return given.replace(second=0, microsecond=0)
        case "hours":
            return given.replace(minute=0, second=0, microsecond=0)
    day = given.replace(hour=0, minute=0, second=0, microsecond=0)
    match unit:
        case "days":
            return day
        case "weeks":
            return _shifted(day, relativedelta(days=-((day.weekday() + 1) % 7)))
        case "months":
            return day.replace(day=1)
        case "quarters":
            return day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1)
    return day.replace(day=1, month=1)


def _shifted(given: datetime, by: relativedelta | timedelta) -> datetime:
    try:
        return given + by
    except (OverflowError, ValueError):
        raise FormulaError from None


@function("DATEADD", 3, 3, "date")
def _dateadd(value: Value, count: Value, unit: Value) -> datetime | None:
    given, amount, size = moment(value), number(count), _unit(unit)
    if given is None:
        return None
    try:
        if size in _SECONDS:
            return _shifted(given, timedelta(seconds=amount * _SECONDS[size]))
        months = {"months": 1, "quarters": 3, "years": 12}[size] * integer(count)
        return _shifted(given, relativedelta(months=months))
    except (OverflowError, ValueError):
        raise FormulaError from None


@function("DATETIME_DIFF", 2, 3, "number")
def _datetime_diff(left: Value, right: Value, unit: Value = "second") -> float:
    later, earlier, size = _needed(left), _needed(right), _unit(unit)
    if size in _SECONDS:
        difference = (later - earlier).total_seconds() / _SECONDS[size]
        return float(int(difference + (1e-9 if difference > 0 else -1e-9)))
    months = relativedelta(later, earlier)
    return float(
        int((months.years * 12 + months.months) / {"months": 1, "quarters": 3, "years": 12}[size])
    )


@function("DATETIME_PARSE", 1, 3, "date")
def _datetime_parse(value: Value, form: Value = None, _locale: Value = None) -> datetime | None:
    if isinstance(value, datetime) or value is None or value == "":
        return moment(value)
    if isinstance(value, (int, float)):
        try:
            return from_milliseconds(integer(value))
        except (OverflowError, ValueError, OSError):
            raise FormulaError from None
    return parse_moment(text(value)) if form is None else read_moment(text(value), text(form))


@function("DATETIME_FORMAT", 1, 2, "text")
def _datetime_format(value: Value, form: Value = None) -> str:
    return write_moment(_needed(value), "YYYY-MM-DDTHH:mm:ssZ" if form is None else text(form))


@function("DATESTR", 1, 1, "text")
def _datestr(value: Value) -> str:
    return write_moment(_needed(value), "YYYY-MM-DD")


@function("TIMESTR", 1, 1, "text")
def _timestr(value: Value) -> str:
    return write_moment(_needed(value), "HH:mm:ss")


@function("SET_TIMEZONE", 2, 2, "date")
def _set_timezone(value: Value, zone: Value) -> datetime:
    try:
        return _needed(value).astimezone(ZoneInfo(text(zone)))
    except (KeyError, ValueError, OSError, OverflowError):
        raise FormulaError from None


@function("SET_LOCALE", 2, 2, "date")
def _set_locale(value: Value, _locale: Value) -> datetime:
    return _needed(value)


def _part(name: str) -> None:
    @function(name.upper(), 1, 1, "number")
    def part(value: Value) -> float:
        return float(getattr(_needed(value), name))


for _name in ("year", "month", "day", "hour", "minute", "second"):
    _part(_name)


def _week_start(start: Value) -> int:
    days = {"sunday": 6, "monday": 0}
    written = text(start).lower()
    if written not in days:
        raise FormulaError
    return days[written]


@function("WEEKDAY", 1, 2, "number")
def _weekday(value: Value, start: Value = "Sunday") -> float:
    return float((_needed(value).weekday() - _week_start(start)) % 7)


@function("WEEKNUM", 1, 2, "number")
def _weeknum(value: Value, start: Value = "Sunday") -> float:
    given = _needed(value)
    first = (given.replace(month=1, day=1).weekday() - _week_start(start)) % 7
    return float((given.timetuple().tm_yday - 1 + first) // 7 + 1)


def _holidays(listed: Value) -> set[str]:
    return {
        f"{parse_moment(day.strip()):%Y-%m-%d}" for day in text(listed).split(",") if day.strip()
    }


def _works(day: datetime, holidays: set[str]) -> bool:
    return day.weekday() < 5 and f"{day:%Y-%m-%d}" not in holidays


@function("WORKDAY", 2, 3, "date")
def _workday(value: Value, count: Value, holidays: Value = "") -> datetime:
    day, days, free = _needed(value), integer(count), _holidays(holidays)
    if abs(days) > 10_000:
        raise FormulaError
    step = timedelta(days=1 if days > 0 else -1)
    for _ in range(abs(days)):
        day = _shifted(day, step)
        while not _works(day, free):
            day = _shifted(day, step)
    return day


@function("WORKDAY_DIFF", 2, 3, "number")
def _workday_diff(left: Value, right: Value, holidays: Value = "") -> float:
    first, last, free = _needed(left), _needed(right), _holidays(holidays)
    sign = 1.0 if first <= last else -1.0
    day, end = sorted((_start(first, "days"), _start(last, "days")))
    if (end - day).days > 100_000:
        raise FormulaError
    worked = 0
    while day <= end:
        worked += _works(day, free)
        day = _shifted(day, timedelta(days=1))
    return sign * worked


def distance_in_words(value: Value, now: datetime) -> str:
    """Say how far a moment is from now, as TONOW and FROMNOW do: `2 days`, `an hour`."""
    seconds = abs((now - _needed(value)).total_seconds())
    if seconds < 45:
        return "a few seconds"
    for limit, size, one, many in (
        (45 * 60, 60, "a minute", "minutes"),
        (22 * 3600, 3600, "an hour", "hours"),
        (26 * 86400, 86400, "a day", "days"),
        (320 * 86400, 2629800, "a month", "months"),
    ):
        if seconds < limit:
            count = max(round(seconds / size), 1)
            return one if count == 1 else f"{count} {many}"
    years = max(round(seconds / 31557600), 1)
    return "a year" if years == 1 else f"{years} years"
