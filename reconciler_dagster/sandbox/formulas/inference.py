"""The kind of value that a formula gives, told from its syntax alone, for the metadata API."""

from collections.abc import Callable

from reconciler_dagster.sandbox.formulas.functions import FUNCTIONS
from reconciler_dagster.sandbox.formulas.syntax import (
    Binary,
    Call,
    Literal,
    Negate,
    Node,
    Reference,
)

NUMBER, TEXT, DATE, ANY = "number", "text", "date", "any"


def result_kind(node: Node, kind_of: Callable[[str], str]) -> str:
    """Return number, text or date; any where the formula gives nothing but blanks."""
    match node:
        case Literal(value):
            return TEXT if isinstance(value, str) else NUMBER
        case Reference(name):
            return kind_of(name)
        case Negate():
            return NUMBER
        case Binary(operator):
            return TEXT if operator == "&" else NUMBER
        case Call("NOW" | "TODAY" | "CREATED_TIME" | "LAST_MODIFIED_TIME"):
            return DATE
        case Call("RECORD_ID" | "TONOW" | "FROMNOW"):
            return TEXT
        case Call("IF", (_, *branches)):
            return _common([result_kind(branch, kind_of) for branch in branches])
        case Call("SWITCH", (_, *arms)):
            results = arms[1::2] + (arms[-1:] if len(arms) % 2 else [])
            return _common([result_kind(arm, kind_of) for arm in results])
        case Call(name):
            result = FUNCTIONS[name].result if name in FUNCTIONS else ANY
            return NUMBER if result == "truth" else TEXT if name.startswith("ARRAY") else result
    return ANY


def _common(kinds: list[str]) -> str:
    found = {kind for kind in kinds if kind != ANY}
    return found.pop() if len(found) == 1 else TEXT if found else ANY
