"""Logic. AND, OR and XOR evaluate all arguments, so an error in any spreads."""

from collections.abc import Callable

from reconciler_dagster.sandbox.formulas.functions.registry import function
from reconciler_dagster.sandbox.formulas.values import FormulaError, Value, equal, truth

Delayed = Callable[[], Value]


def _flat(arguments: tuple[Value, ...]) -> list[Value]:
    flat: list[Value] = []
    for argument in arguments:
        flat += argument if isinstance(argument, list) else [argument]
    return flat


@function("AND", 1, None, "truth")
def _and(*arguments: Value) -> bool:
    return all(truth(argument) for argument in arguments)


@function("OR", 1, None, "truth")
def _or(*arguments: Value) -> bool:
    return any(truth(argument) for argument in arguments)


@function("XOR", 1, None, "truth")
def _xor(*arguments: Value) -> bool:
    return sum(truth(argument) for argument in _flat(arguments)) % 2 == 1


@function("NOT", 1, 1, "truth")
def _not(value: Value) -> bool:
    return not truth(value)


@function("TRUE", 0, 0, "truth")
def _true() -> bool:
    return True


@function("FALSE", 0, 0, "truth")
def _false() -> bool:
    return False


@function("BLANK", 0, 0, "any")
def _blank() -> Value:
    return None


@function("ERROR", 0, 1, "any", lazy=True)
def _error(_message: Delayed | None = None) -> Value:
    raise FormulaError


@function("ISERROR", 1, 1, "truth", lazy=True)
def _iserror(argument: Delayed) -> bool:
    try:
        value = argument()
    except FormulaError:
        return True
    return isinstance(value, float) and value != value


@function("IF", 2, 3, "any", lazy=True)
def _if(condition: Delayed, yes: Delayed, no: Delayed | None = None) -> Value:
    if truth(condition()):
        return yes()
    return no() if no else None


@function("SWITCH", 2, None, "any", lazy=True)
def _switch(subject: Delayed, *arms: Delayed) -> Value:
    value = subject()
    for pattern, result in zip(arms[::2], arms[1::2], strict=False):
        if equal(value, pattern()):
            return result()
    return arms[-1]() if len(arms) % 2 else None
