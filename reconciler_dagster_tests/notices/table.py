"""The table of docs/notices.md, written by the tests that make each cause happen."""

from __future__ import annotations

import os
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "notices.md"
HEAD = "| Kind | What was done | The notice that came | After | Its end |"


def note(kind: str, done: str, came: str, seconds: float | None, over: str) -> None:
    """Put a row in its place, where it is asked for."""
    if not os.environ.get("WRITE_NOTICES"):
        return
    after = "the next look" if seconds is None else f"{seconds:.0f} s"
    row = f"| `{kind}` | {done} | {came} | {after} | {over} |"
    lines = DOC.read_text().splitlines()
    first = lines.index(HEAD) + 2
    last = next(n for n in range(first, len(lines) + 1) if n == len(lines) or not lines[n])
    rows = {line.split("|")[1]: line for line in lines[first:last]}
    rows[row.split("|")[1]] = row
    DOC.write_text("\n".join([*lines[:first], *rows.values(), *lines[last:]]) + "\n")
