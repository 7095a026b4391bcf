"""What is made of pip-audit's report: neither a hole nor a skipped package is passed over."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit_packages.py"
verdict = runpy.run_path(str(SCRIPT))["verdict"]

SOUND = {"name": "click", "version": "8.1", "vulns": []}
SKIPPED = {"name": "attrs", "skip_reason": "not found"}
HOLED = {
    "name": "jinja2",
    "version": "2.4",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.4.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


def test_a_known_hole_fails_and_is_named() -> None:
    lines, code = verdict([SOUND, HOLED])
    assert code == 1
    assert lines == [
        "jinja2 2.4: PYSEC-1, fixed in 2.4.1",
        "jinja2 2.4: PYSEC-2, fixed in no version yet",
        "2 packages looked up, 2 known holes.",
    ]


def test_what_could_not_be_looked_up_is_not_called_sound() -> None:
    lines, code = verdict([SOUND, SKIPPED])
    assert code == 0
    assert lines == [
        "1 packages looked up, 0 known holes.",
        "WARNING: 1 could not be looked up: attrs",
    ]
