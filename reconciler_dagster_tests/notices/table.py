"""The table of docs/notices.md, written by the tests that make each cause happen."""

from __future__ import annotations

import os
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "notices.md"
HEAD = "| Kind | What was done | The notice that came | After | Its end, after |"
WRITES = bool(os.environ.get("WRITE_NOTICES"))


def note(kind: str, done: str, came: str, after: float, over_after: float) -> None:
    """Put a row in its place, where it is asked for."""
    if not WRITES:
        return
    row = f"| `{kind}` | {done} | {came} | {after:.0f} s | {over_after:.0f} s |"
    lines = DOC.read_text().splitlines()
    first = lines.index(HEAD) + 2
    last = next(n for n in range(first, len(lines) + 1) if n == len(lines) or not lines[n])
    rows = {line.split("|")[1]: line for line in lines[first:last]}
    rows[row.split("|")[1]] = row
    DOC.write_text("\n".join([*lines[:first], *rows.values(), *lines[last:]]) + "\n")
