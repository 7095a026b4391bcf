"""How a formula function is declared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Result = Literal["text", "number", "date", "truth", "any"]

FUNCTIONS: dict[str, "Function"] = {}
"""Every function by its name in capitals, filled by the modules of this package."""


@dataclass(frozen=True, slots=True)
class Function:
    """A formula function over evaluated arguments (lazy: over callables that give them)."""

    call: Callable[..., Any]
    least: int
    most: int | None
    result: Result
    lazy: bool

    def accepts(self, count: int) -> bool:
        """Tell whether the function takes this many arguments."""
        return self.least <= count and (self.most is None or count <= self.most)


_F = TypeVar("_F", bound=Callable[..., Any])


def function(
    name: str, least: int, most: int | None, result: Result, lazy: bool = False
) -> Callable[[_F], _F]:
    """Register the decorated callable as the formula function `name`."""

    def register(call: _F) -> _F:
        FUNCTIONS[name] = Function(call, least, most, result, lazy)
        return call

    return register
