"""Numbers. A result that is no number is NaN or infinite, as in Airtable, not an error."""

import math
from collections.abc import Callable, Iterator

from reconciler_dagster.sandbox.formulas.functions.registry import function
from reconciler_dagster.sandbox.formulas.values import (
    FormulaError,
    Value,
    blank,
    integer,
    number,
)


def _finite(value: Value) -> float:
    amount = number(value)
    if not math.isfinite(amount):
        raise FormulaError
    return amount


def each(arguments: tuple[Value, ...]) -> Iterator[Value]:
    """Yield the arguments with lists laid flat."""
    for argument in arguments:
        if isinstance(argument, list):
            yield from each(tuple(argument))
        else:
            yield argument


def _amounts(arguments: tuple[Value, ...]) -> list[float]:
    return [number(value) for value in each(arguments) if not blank(value)]


@function("ABS", 1, 1, "number")
def _abs(value: Value) -> float:
    return abs(number(value))


@function("SUM", 1, None, "number")
def _sum(*arguments: Value) -> float:
    return math.fsum(_finite(amount) for amount in _amounts(arguments))


@function("AVERAGE", 1, None, "number")
def _average(*arguments: Value) -> float:
    amounts = _amounts(arguments)
    return sum(amounts) / len(amounts) if amounts else math.nan


@function("MAX", 1, None, "number")
def _max(*arguments: Value) -> float:
    return max(_amounts(arguments), default=0.0)


@function("MIN", 1, None, "number")
def _min(*arguments: Value) -> float:
    return min(_amounts(arguments), default=0.0)


@function("COUNT", 1, None, "number")
def _count(*arguments: Value) -> float:
    return float(
        sum(isinstance(v, (int, float)) and not isinstance(v, bool) for v in each(arguments))
    )


@function("COUNTA", 1, None, "number")
def _counta(*arguments: Value) -> float:
    return float(sum(not blank(value) for value in each(arguments)))


@function("COUNTALL", 1, None, "number")
def _countall(*arguments: Value) -> float:
    return float(sum(1 for _ in each(arguments)))


@function("INT", 1, 1, "number")
def _int(value: Value) -> float:
    return float(math.floor(_finite(value)))


@function("EVEN", 1, 1, "number")
def _even(value: Value) -> float:
    return math.copysign(2.0 * math.ceil(abs(_finite(value)) / 2), number(value))


@function("ODD", 1, 1, "number")
def _odd(value: Value) -> float:
    amount = _finite(value)
    size = math.ceil(abs(amount))
    return math.copysign(float(size if size % 2 else size + 1), amount)


@function("EXP", 1, 1, "number")
def _exp(value: Value) -> float:
    try:
        return math.exp(number(value))
    except OverflowError:
        return math.inf


@function("LOG", 1, 2, "number")
def _log(value: Value, base: Value = 10) -> float:
    try:
        by = number(base)
        return math.log10(number(value)) if by == 10 else math.log(number(value), by)
    except (ValueError, ZeroDivisionError):
        return math.nan


@function("SQRT", 1, 1, "number")
def _sqrt(value: Value) -> float:
    amount = number(value)
    return math.sqrt(amount) if amount >= 0 else math.nan


@function("POWER", 2, 2, "number")
def _power(base: Value, exponent: Value) -> float:
    try:
        return math.pow(number(base), number(exponent))
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


@function("MOD", 2, 2, "number")
def _mod(value: Value, divisor: Value) -> float:
    amount, by = number(value), number(divisor)
    if not by or not math.isfinite(amount) or math.isnan(by):
        return math.nan
    return amount % by


def _rounded(value: Value, digits: Value, way: Callable[[float], float]) -> float:
    amount, places = _finite(value), integer(digits)
    if abs(places) > 300:
        raise FormulaError
    scale = 10.0**places
    scaled = amount * scale
    return way(scaled) / scale if math.isfinite(scaled) else amount


@function("ROUND", 1, 2, "number")
def _round(value: Value, digits: Value = 0) -> float:
    return _rounded(value, digits, lambda x: math.copysign(math.floor(abs(x) + 0.5), x))


@function("ROUNDUP", 1, 2, "number")
def _roundup(value: Value, digits: Value = 0) -> float:
    return _rounded(value, digits, lambda x: math.copysign(math.ceil(abs(x)), x))


@function("ROUNDDOWN", 1, 2, "number")
def _rounddown(value: Value, digits: Value = 0) -> float:
    return _rounded(value, digits, lambda x: float(math.trunc(x)))


def _to_step(value: Value, step: Value, way: Callable[[float], int]) -> float:
    amount, size = _finite(value), _finite(step)
    if not size:
        return math.nan
    steps = amount / size
    return way(steps) * size if math.isfinite(steps) else math.nan


@function("CEILING", 1, 2, "number")
def _ceiling(value: Value, step: Value = 1) -> float:
    return _to_step(value, step, math.ceil)


@function("FLOOR", 1, 2, "number")
def _floor(value: Value, step: Value = 1) -> float:
    return _to_step(value, step, math.floor)
