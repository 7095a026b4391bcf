"""One name stands for one number."""

from __future__ import annotations

import ast
from collections import defaultdict

from reconciler_dagster.config import project_file

PACKAGE = project_file("pyproject.toml").parent / "reconciler_dagster"


def test_no_two_modules_give_a_number_the_same_name() -> None:
    """Who reads `PAGE` need not ask whose. The sandbox is another's server, with its own."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        if "sandbox" in file.parts:
            continue
        for statement in ast.parse(file.read_text()).body:
            if not isinstance(statement, ast.Assign) or not _is_a_number(statement.value):
                continue
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_":
                    found[target.id].append(str(file.relative_to(PACKAGE)))
    assert found["PART"] == ["core/parts.py"]
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def _is_a_number(value: ast.expr) -> bool:
    """A number, numbers in brackets, or one that is worked out of others."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int | float) and not isinstance(value.value, bool)
    if isinstance(value, ast.BinOp):
        return _is_a_number(value.left) or _is_a_number(value.right)
    return isinstance(value, ast.Tuple) and all(map(_is_a_number, value.elts))
