"""Arrays: what lookups, links and multiple selects hold."""

from reconciler_dagster.sandbox.formulas.functions.numbers import each
from reconciler_dagster.sandbox.formulas.functions.registry import function
from reconciler_dagster.sandbox.formulas.values import MAX_TEXT, FormulaError, Value, integer, text


@function("ARRAYJOIN", 1, 2, "text")
def _join(value: Value, separator: Value = ", ") -> str:
    joined = text(separator).join(text(item) for item in each((value,)))
    if len(joined) > MAX_TEXT:
        raise FormulaError
    return joined


@function("ARRAYUNIQUE", 1, None, "any")
def _unique(*arguments: Value) -> list[Value]:
    unique: list[Value] = []
    for item in each(arguments):
        if item not in unique:
            unique.append(item)
    return unique


@function("ARRAYCOMPACT", 1, None, "any")
def _compact(*arguments: Value) -> list[Value]:
    return [item for item in each(arguments) if item is not None and item != ""]


@function("ARRAYFLATTEN", 1, None, "any")
def _flatten(*arguments: Value) -> list[Value]:
    return list(each(arguments))


@function("ARRAYSLICE", 2, 3, "any")
def _slice(value: Value, start: Value, end: Value = None) -> list[Value]:
    items, first = list(each((value,))), integer(start)
    begin = first - 1 if first > 0 else first
    if end is None:
        return items[begin:]
    last = integer(end)
    return items[begin : last if last >= 0 else len(items) + last + 1]
