"""Which package imports which, read from the source; and which arrows a picture draws."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler_dagster"
BESIDE = "beside"
# Modules beside the packages that belong to one: Dagster's entry point.
MOVED = {"definitions": "orchestration"}

# Functions of Airtable's formulas that a filter of records needs.
_FORMULA = re.compile(r"\b(?:RECORD_ID|CREATED_TIME|LAST_MODIFIED_TIME|IS_AFTER|DATETIME_PARSE)\(")

Arrow = tuple[str, str]


def imports() -> set[Arrow]:
    """Every pair of packages of which the first imports the second, wherever in a file."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in _imported(ast.parse(path.read_text())):
            ours = module.startswith(f"{PACKAGE.name}.")
            if ours and (there := room(module)) != here:
                found.add((here, there))
    return found


def importers(module: str, folder: Path = PACKAGE) -> set[str]:
    """Every file in a folder that imports a module or what is in it, wherever in the file."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if any(
            f"{name}.".startswith(f"{module}.") for name in _imported(ast.parse(path.read_text()))
        )
    }


def foreign_words(source: str) -> list[str]:
    """What a file above ``airtable`` says that only Airtable's own room should know: the status of
    an answer, or a function of a formula. Docstrings may.
    """
    found = []
    tree = ast.parse(source)
    told = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("status", "status_code"):
            found.append(f"line {node.lineno}: .{node.attr}")
        elif isinstance(node, ast.Constant) and id(node) not in told:
            found += [f"line {node.lineno}: {word}" for word in _FORMULA.findall(str(node.value))]
    return found


def room(module: str) -> str:
    """The package of a module; BESIDE for the modules beside the packages."""
    name = [*module.split("."), ""][1]
    if (PACKAGE / name / "__init__.py").is_file() and name:
        return name
    return MOVED.get(name, BESIDE)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from names


def drawn(mermaid: str) -> tuple[set[Arrow], set[Arrow]]:
    """The solid and the dotted arrows of a flowchart. ValueError for a line that is neither a node,
    an arrow nor the heading: the picture must be readable as a whole.
    """
    node = r'(\w+)(?:\["[^"\]]*"\])?'
    solid, dotted = set(), set()
    for line in mermaid.strip().splitlines()[1:]:
        match = re.fullmatch(rf"\s*{node} (-->|-\.->) {node}", line)
        if match is None:
            raise ValueError(f"neither a node nor an arrow: {line!r}")
        (solid if match[2] == "-->" else dotted).add((match[1], match[3]))
    return solid, dotted


def reduced(arrows: set[Arrow]) -> set[Arrow]:
    """Without the arrows that a chain of others stands for. ValueError where there is a circle."""
    below: dict[str, set[str]] = {}

    def reach(room: str, path: tuple[str, ...] = ()) -> set[str]:
        if room in path:
            raise ValueError(f"a circle: {' -> '.join((*path, room))}")
        if room not in below:
            direct = {there for here, there in arrows if here == room}
            below[room] = direct.union(*(reach(one, (*path, room)) for one in direct))
        return below[room]

    for here, _ in arrows:
        reach(here)
    return {
        (here, there)
        for here, there in arrows
        if not any(there in below[other] for one, other in arrows if one == here and other != there)
    }
