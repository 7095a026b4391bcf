"""From formula text to a syntax tree, with lark."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lark import Lark, LarkError, Token, Transformer, v_args

MAX_DEPTH = 150
"""Nesting that is still accepted; the evaluator recurses, so it must stay far from the stack."""


class InvalidFormula(Exception):
    """The text is no formula; `str()` is the reason in Airtable's words."""

    def __init__(self, reason: str = "Invalid formula. Please check your formula text.") -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a text."""

    value: float | str
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Reference:
    """A field, by name or id as written."""

    name: str
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; the name is in capitals."""

    name: str
    arguments: tuple["Node", ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two operands."""

    operator: str
    left: "Node"
    right: "Node"
    depth: int


@dataclass(frozen=True, slots=True)
class Negate:
    """Minus before an operand."""

    operand: "Node"
    depth: int


Node = Literal | Reference | Call | Binary | Negate

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def _unescape(text: str) -> str:
    return re.sub(r"\\([\s\S])", lambda m: _ESCAPES.get(m[1], m[1]), text) if "\\" in text else text


def _deeper(*nodes: Node) -> int:
    depth = 1 + max((node.depth for node in nodes), default=0)
    if depth > MAX_DEPTH:
        raise InvalidFormula
    return depth


@v_args(inline=True)
class _Builder(Transformer[Token, Node]):
    """Builds nodes while lark parses, bottom up and without recursion."""

    def number(self, token: Token) -> Node:
        return Literal(float(token))

    def string(self, token: Token) -> Node:
        return Literal(_unescape(str(token)[1:-1]))

    def braced(self, token: Token) -> Node:
        return Reference(_unescape(str(token)[1:-1]))

    def bare(self, token: Token) -> Node:
        return Reference(str(token))

    def arguments(self, *nodes: Node) -> tuple[Node, ...]:
        return nodes

    def call(self, name: Token, arguments: tuple[Node, ...] | None) -> Node:
        given = arguments or ()
        return Call(str(name).upper(), given, _deeper(*given))

    def binary(self, left: Node, operator: Token, right: Node) -> Node:
        return Binary(str(operator), left, right, _deeper(left, right))

    def sign(self, token: Token, operand: Node) -> Node:
        return Negate(operand, _deeper(operand)) if token == "-" else operand


_parser = Lark(
    Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8"),
    parser="lalr",
    lexer="basic",
    transformer=_Builder(),
    maybe_placeholders=True,
)


@lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """Parse a formula. Raises InvalidFormula."""
    try:
        return _parser.parse(text)  # type: ignore[return-value]
    except (LarkError, ValueError, OverflowError) as error:
        raise InvalidFormula from error


def references(node: Node) -> Iterator[str]:
    """Yield the names (or ids) of the fields that a formula mentions, in order."""
    match node:
        case Reference(name):
            yield name
        case Call(_, arguments):
            for argument in arguments:
                yield from references(argument)
        case Binary(_, left, right):
            yield from references(left)
            yield from references(right)
        case Negate(operand):
            yield from references(operand)


def rewrite_references(text: str, rename: Callable[[str], str]) -> str:
    """Return the formula with every field mention replaced by `{rename(name)}`."""

    def replaced(token: Token) -> str:
        name = _unescape(str(token)[1:-1]) if token.type == "BRACED" else str(token)
        return "{" + re.sub(r"([\\}])", r"\\\1", rename(name)) + "}"

    tokens = list(_parser.lex(text))
    pieces, position = [], 0
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        called = following is not None and following.type == "LPAR"
        if token.type == "BRACED" or (token.type == "NAME" and not called):
            pieces += [text[position : token.start_pos], replaced(token)]
            position = token.end_pos or 0
    return "".join([*pieces, text[position:]])
