"""What the documents claim is held against what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler_dagster.cli.group import COMMANDS

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
ROWS = [
    line
    for line in (DOCS / "reports.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| Kind")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_case_has_a_test_that_is_there(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row.rstrip("| ").rpartition("|")[2])
    assert named, "no case without a test"
    for path, function in named:
        source = (TESTS / path).read_text()
        assert not function or f"def {function}(" in source, f"{path} has no {function}"


def test_every_command_and_every_package_is_named() -> None:
    readme = (TESTS.parent / "README.md").read_text()
    table = readme.partition("| command | what it does |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z-]+)", table))
    assert set(COMMANDS) <= named
    built = (DOCS / "architecture.md").read_text().partition("## The folders")[2]
    built = built.partition("\n## ")[0]
    package = TESTS.parent / "reconciler_dagster"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders <= set(re.findall(r"^ +(\w+)/", built, re.MULTILINE))
