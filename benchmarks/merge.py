"""How long the pure merge takes over frames of leads, and how that grows.

    .venv/bin/python benchmarks/merge.py

Three frames of all mapped fields, one lead in a hundred edited on one side or the other.
"""

from __future__ import annotations

import time
from typing import Any

from reconciler_dagster.core.merge import merge
from reconciler_dagster.core.values import frame
from reconciler_dagster_tests.mapping import LEADS

SIZES = (10_000, 100_000)


def rows(leads: int, edited: int, value: str) -> dict[str, dict[str, Any]]:
    """Leads with every field filled; each hundredth, counted from ``edited``, says ``value``."""
    return {
        f"rec{n:014d}": {
            column: value if n % 100 == edited and column == "notes" else f"{column} {n % 97}"
            for column in LEADS.columns
        }
        for n in range(leads)
    }


def main() -> None:
    seconds = {}
    for leads in SIZES:
        sides = [rows(leads, -1, ""), rows(leads, 1, "typed"), rows(leads, 2, "written")]
        began = time.perf_counter()
        frames = [frame(side, LEADS.columns) for side in sides]
        framed = time.perf_counter()
        plan = merge(*frames, LEADS)
        merged = time.perf_counter()
        assert len(plan.to_postgres) == len(plan.to_airtable) == leads // 100
        seconds[leads] = merged - framed
        print(
            f"{leads:,} leads x {len(LEADS)} fields: frames {framed - began:.2f} s, "
            f"merge {merged - framed:.2f} s"
        )
    small, large = SIZES
    ratio = seconds[large] / seconds[small]
    print(f"{large // small} times the leads took {ratio:.1f} times as long")


if __name__ == "__main__":
    main()
