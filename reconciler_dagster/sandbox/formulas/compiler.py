"""From syntax tree to a Python function over one row, compiled once and called for every record."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from reconciler_dagster.sandbox.formulas import values
from reconciler_dagster.sandbox.formulas.functions import FUNCTIONS
from reconciler_dagster.sandbox.formulas.functions.dates import distance_in_words
from reconciler_dagster.sandbox.formulas.syntax import (
    Binary,
    Call,
    InvalidFormula,
    Literal,
    Negate,
    Node,
    Reference,
)
from reconciler_dagster.sandbox.formulas.values import FormulaError, Value


class Row(Protocol):
    """What a formula can ask of the record it is evaluated for."""

    record_id: str
    now: datetime

    def operand(self, field_id: str) -> Value:
        """Return a cell as a formula value."""

    def created(self) -> datetime:
        """Return the record's created time."""

    def modified(self, field_ids: tuple[str, ...]) -> datetime | None:
        """Return the last modified time of the record, or of these fields."""


Evaluate = Callable[[Row], Value]
Resolve = Callable[[str], str | None]


def compile_formula(node: Node, resolve: Resolve) -> Evaluate:
    """Compile a formula; `resolve` turns a field name or id into an id.

    Raises InvalidFormula for unknown fields, unknown functions and wrong argument counts.
    """
    unknown: list[str] = []

    def field_id(name: str) -> str:
        found = resolve(name)
        if found is None and name.lower() not in unknown:
            unknown.append(name.lower())
        return found or ""

    evaluate = _compile(node, field_id)
    if unknown:
        raise InvalidFormula("Unknown field names: " + ", ".join(unknown))
    return evaluate


def evaluate_filter(evaluate: Evaluate, row: Row) -> bool:
    """Tell whether the row is kept: result not 0, false, "", NaN, [] or an error."""
    try:
        return values.truth(evaluate(row))
    except (FormulaError, ArithmeticError, RecursionError):
        return False


def _compile(node: Node, field_id: Callable[[str], str]) -> Evaluate:
    match node:
        case Literal(value):
            return lambda row: value
        case Reference(name):
            identity = field_id(name)
            return lambda row: row.operand(identity)
        case Negate(operand):
            inner = _compile(operand, field_id)
            return lambda row: -values.number(inner(row))
        case Binary(operator, left, right):
            first, second = _compile(left, field_id), _compile(right, field_id)
            operation = _OPERATORS[operator]
            return lambda row: operation(first(row), second(row))
        case Call(name, arguments):
            return _compile_call(name, arguments, field_id)


def _compile_call(
    name: str, arguments: tuple[Node, ...], field_id: Callable[[str], str]
) -> Evaluate:
    match name:
        case "RECORD_ID" if not arguments:
            return lambda row: row.record_id
        case "CREATED_TIME" if not arguments:
            return lambda row: row.created()
        case "LAST_MODIFIED_TIME" if all(isinstance(a, Reference) for a in arguments):
            watched = tuple(field_id(a.name) for a in arguments if isinstance(a, Reference))
            return lambda row: row.modified(watched)
        case "NOW" if not arguments:
            return lambda row: row.now
        case "TODAY" if not arguments:
            return lambda row: row.now.replace(hour=0, minute=0, second=0, microsecond=0)
        case "TONOW" | "FROMNOW" if len(arguments) == 1:
            since = _compile(arguments[0], field_id)
            return lambda row: distance_in_words(since(row), row.now)
    function = FUNCTIONS.get(name)
    if function is None or not function.accepts(len(arguments)):
        raise InvalidFormula
    compiled = [_compile(argument, field_id) for argument in arguments]
    call = function.call
    if function.lazy:
        return lambda row: call(*[_Delayed(argument, row) for argument in compiled])
    if len(compiled) == 1:
        (only,) = compiled
        return lambda row: call(only(row))
    if len(compiled) == 2:
        first, second = compiled
        return lambda row: call(first(row), second(row))
    return lambda row: call(*[argument(row) for argument in compiled])


class _Delayed:
    """An argument that is evaluated only when the function calls it."""

    __slots__ = ("_evaluate", "_row")

    def __init__(self, evaluate: Evaluate, row: Row) -> None:
        self._evaluate = evaluate
        self._row = row

    def __call__(self) -> Value:
        return self._evaluate(self._row)


def _divide(left: Value, right: Value) -> Value:
    dividend, divisor = values.number(left), values.number(right)
    if divisor:
        return dividend / divisor
    return math.nan if not dividend or math.isnan(dividend) else math.copysign(math.inf, dividend)


def _add(left: Value, right: Value) -> Value:
    return values.number(left) + values.number(right)


def _join(left: Value, right: Value) -> Value:
    joined = values.text(left) + values.text(right)
    if len(joined) > values.MAX_TEXT:
        raise FormulaError
    return joined


_OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "=": values.equal,
    "!=": lambda left, right: not values.equal(left, right),
    "<": values.less,
    ">": lambda left, right: values.less(right, left),
    "<=": lambda left, right: not values.less(right, left),
    ">=": lambda left, right: not values.less(left, right),
    "&": _join,
    "+": _add,
    "-": lambda left, right: values.number(left) - values.number(right),
    "*": lambda left, right: values.number(left) * values.number(right),
    "/": _divide,
}
