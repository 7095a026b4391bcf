"""What was measured stands in docs/measured.md and nowhere else."""

from __future__ import annotations

import re

from reconciler_dagster_tests.documents.rooms import ROOT
from reconciler_dagster_tests.documents.test_links import PAGES

HOME = "docs/measured.md"
# Written by a proof as a whole, each with its own seconds.
WRITTEN = {"docs/mutants.md", "docs/notices.md"}
# A figure with its unit; multiples of five are settings and limits more often than measurements.
FIGURE = re.compile(r"\b(\d+\.\d+|\d*[1-46-9]) (ms|s|MiB|GiB|calls)\b")


def figures(text: str) -> set[str]:
    """Figures with a unit that look measured: with a decimal, or of two digits and more."""
    return {" ".join(one) for one in FIGURE.findall(text) if len(one[0]) > 1}


def test_no_figure_stands_twice() -> None:
    measured = figures((ROOT / HOME).read_text())
    assert len(measured) > 20
    for name in PAGES.keys() - WRITTEN - {HOME}:
        again = figures(PAGES[name].read_text()) & measured
        assert again == set(), f"{name}: link to {HOME} instead"


def test_nobody_else_has_a_table_of_measurements() -> None:
    for name in PAGES.keys() - {HOME}:
        assert not re.search(r"^\|.*\bmeasured \|$", PAGES[name].read_text(), re.MULTILINE), name


def test_a_figure_is_known_by_its_unit() -> None:
    text = "It took 32.8 s and 139 calls, waits 30 s, up to 5 calls, 12.6 ms; version 3.5.0."
    assert figures(text) == {"32.8 s", "139 calls", "12.6 ms"}
