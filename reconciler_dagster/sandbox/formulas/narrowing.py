"""Which records a filter can keep at all, read off its syntax, so that an index can find them.

Only the created time, the last modified time and the record id are looked at; the bounds are
always wide enough, and the filter itself still decides on each record within them.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.syntax import Binary, Call, InvalidFormula, Literal, Node
from reconciler_dagster.sandbox.formulas.values import FormulaError, Value, moment

Span = tuple[float, float]
_EVER: Span = (-math.inf, math.inf)
# Ids may overlap in a text.
_RECORD_ID = re.compile(r"(?=(rec[A-Za-z0-9]{14}))")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Spans of milliseconds, both ends included, and the ids that can pass (None: any)."""

    created: Span = _EVER
    modified: Span = _EVER
    ids: frozenset[str] | None = None

    def both(self, other: "Bounds") -> "Bounds":
        """Return the bounds of records within this and the other."""
        ids = self.ids if other.ids is None else other.ids
        if self.ids is not None and other.ids is not None:
            ids = self.ids & other.ids
        return Bounds(
            _overlap(self.created, other.created), _overlap(self.modified, other.modified), ids
        )

    def either(self, other: "Bounds") -> "Bounds":
        """Return bounds wide enough for records within this or the other."""
        ids = None if self.ids is None or other.ids is None else self.ids | other.ids
        return Bounds(_hull(self.created, other.created), _hull(self.modified, other.modified), ids)


EVERYTHING = Bounds()


def narrow(node: Node, now: datetime) -> Bounds:
    """Return bounds outside which the filter keeps nothing."""
    match node:
        case Call("AND", arguments) if arguments:
            bounds = EVERYTHING
            for argument in arguments:
                bounds = bounds.both(narrow(argument, now))
            return bounds
        case Call("OR", arguments) if arguments:
            bounds = narrow(arguments[0], now)
            for argument in arguments[1:]:
                bounds = bounds.either(narrow(argument, now))
            return bounds
        case Call("IS_AFTER", (left, right)):
            return _compared(left, right, now, after=True)
        case Call("IS_BEFORE", (left, right)):
            return _compared(left, right, now, after=False)
        case Call("NOT", (Call("IS_BEFORE", (left, right)),)):
            return _compared(left, right, now, after=True)
        case Call("NOT", (Call("IS_AFTER", (left, right)),)):
            return _compared(left, right, now, after=False)
        case Call("IS_SAME", (left, right, *_)):
            return _same(node, left, right, now)
        case Binary(">", Call("FIND", (Call("RECORD_ID", ()), Literal(str(ids)))), Literal(0.0)):
            return _within(ids)
        case Binary(">" | ">=", left, right):
            return _compared(left, right, now, after=True, dates_only=True)
        case Binary("<" | "<=", left, right):
            return _compared(left, right, now, after=False, dates_only=True)
        case Binary("=", left, right):
            return _equal(left, right)
    return EVERYTHING


def _within(ids: str) -> Bounds:
    """Bounds for a record id that is looked for in a text."""
    return Bounds(ids=frozenset(_RECORD_ID.findall(ids)))


def _equal(left: Node, right: Node) -> Bounds:
    for subject, other in ((left, right), (right, left)):
        if isinstance(subject, Call) and subject.name == "RECORD_ID" and isinstance(other, Literal):
            return Bounds(ids=frozenset({str(other.value)}))
    return EVERYTHING


def _compared(
    left: Node, right: Node, now: datetime, after: bool, dates_only: bool = False
) -> Bounds:
    """Bounds for a time compared with a constant, whichever side it stands on."""
    for subject, other, upwards in ((left, right, after), (right, left, not after)):
        axis = _axis(subject)
        limit = _constant(other, now, dates_only) if axis else None
        if axis and limit is not None:
            # A whole second wide, so that no rounding on either side can cut a record off.
            return axis((limit - 1000, math.inf) if upwards else (-math.inf, limit + 1000))
    return EVERYTHING


def _same(node: Call, left: Node, right: Node, now: datetime) -> Bounds:
    unit = node.arguments[2] if len(node.arguments) > 2 else Literal("millisecond")
    if not isinstance(unit, Literal) or str(unit.value).lower().rstrip("s") not in (
        "millisecond",
        "second",
    ):
        return EVERYTHING
    for subject, other in ((left, right), (right, left)):
        axis = _axis(subject)
        limit = _constant(other, now, dates_only=False) if axis else None
        if axis and limit is not None:
            return axis((limit - 1000, limit + 1000))
    return EVERYTHING


def _axis(node: Node) -> Callable[[Span], Bounds] | None:
    match node:
        case Call("CREATED_TIME", ()):
            return lambda span: Bounds(created=span)
        case Call("LAST_MODIFIED_TIME", ()):
            return lambda span: Bounds(modified=span)
    return None


class _NoRow:
    """Stands in for a record where an expression must not depend on one."""

    record_id = ""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def operand(self, field_id: str) -> Value:
        raise FormulaError

    def created(self) -> datetime:
        raise FormulaError

    def modified(self, field_ids: tuple[str, ...]) -> datetime | None:
        raise FormulaError


def _depends_on_record(node: Node) -> bool:
    match node:
        case Call(name, arguments):
            return name in ("RECORD_ID", "ERROR", "ISERROR") or any(
                _depends_on_record(argument) for argument in arguments
            )
        case Binary(_, left, right):
            return _depends_on_record(left) or _depends_on_record(right)
    return False


def _constant(node: Node, now: datetime, dates_only: bool) -> float | None:
    if _depends_on_record(node):
        return None
    try:
        value = compile_formula(node, lambda name: name)(_NoRow(now))
        if dates_only and not isinstance(value, datetime):
            return None
        found = moment(value)
    except (FormulaError, InvalidFormula, OverflowError):
        return None
    return found.timestamp() * 1000 if found else None


def _overlap(one: Span, other: Span) -> Span:
    return max(one[0], other[0]), min(one[1], other[1])


def _hull(one: Span, other: Span) -> Span:
    return min(one[0], other[0]), max(one[1], other[1])
