"""No document leads nowhere: links, their anchors, and files and tests that are named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler_dagster_tests.documents.rooms import PACKAGE, ROOT

SKIPPED = {".venv", "build", "node_modules", ".pytest_cache"}
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in sorted(ROOT.rglob("*.md"))
    if SKIPPED.isdisjoint(path.relative_to(ROOT).parts)
}
# Folders of the repository that documents name files of.
ROOTS = ("reconciler_dagster", "reconciler_dagster_tests", "scripts", "migrations", "benchmarks")
ROOTS += ("docs", "monitoring")
# Where a page names files below these, without saying so.
BELOW = {
    "docs/architecture.md": [PACKAGE],
    "docs/glossary.md": [PACKAGE],
    "CONTRIBUTING.md": [PACKAGE],
    "docs/security.md": [ROOT / "reconciler_dagster_tests"],
    "docs/reports.md": [ROOT / "reconciler_dagster_tests"],
}


def prose(path: Path) -> str:
    """The text without blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names by which a link leads to a heading."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")) for heading in headings)
    return {word.strip("_ ").replace(" ", "-") for word in words}


def dead_links(path: Path) -> list[str]:
    """The links of a page that lead nowhere. Other sites are not asked."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?://|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(link)
    return dead


def missing_files(path: Path, below: list[Path]) -> list[str]:
    """Files that a page names in code and that are not there."""
    missing = []
    for code in re.findall(r"`([^`\n]+)`", prose(path)):
        for name in re.findall(r"(?<![\w/.…])[\w./-]*\w\.(?:py|yaml|toml|json|md)\b", code):
            given = name.startswith(tuple(f"{root}/" for root in ROOTS))
            if not given and not (below and "/" in name):
                continue
            places = [folder / name for folder in ([ROOT] if given else [*below, ROOT])]
            if not any(place.exists() for place in places):
                missing.append(name)
    return missing


def missing_tests(path: Path, below: list[Path]) -> list[str]:
    """Tests that a page names as `file.py::test_name` and that are not there, or without a file."""
    missing = []
    for name, test in re.findall(r"([\w./-]+\.py)?::(test_\w+)", path.read_text()):
        files = [place / name for place in [*below, ROOT]] if name else []
        source = next((file.read_text() for file in files if file.exists()), "")
        if f"def {test}(" not in source:
            missing.append(f"{name}::{test}")
    return missing


@pytest.mark.parametrize("name", PAGES)
def test_no_link_is_dead(name: str) -> None:
    assert dead_links(PAGES[name]) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_is_there(name: str) -> None:
    assert missing_files(PAGES[name], BELOW.get(name, [])) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_test_that_is_named_is_there(name: str) -> None:
    assert missing_tests(PAGES[name], BELOW.get(name, [])) == []


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "# Here and there\n[a](#here-and-there) [b](#nowhere) [c](b.md) [d](https://x.example)\n"
        "`core/none.py` and `scripts/none.py` and `scripts/mutate.py` and `core/merge.py`\n"
        "```\n[e](nothing.md)\n```\n"
    )
    assert dead_links(page) == ["#nowhere", "b.md"]
    assert missing_files(page, [PACKAGE]) == ["core/none.py", "scripts/none.py"]
    assert missing_files(page, []) == ["scripts/none.py"]


def test_a_test_that_is_not_in_its_file_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    here = "reconciler_dagster_tests/documents/test_links.py"
    page.write_text(f"    pytest {here}::test_no_link_is_dead\n`::test_none` `none.py::test_one`\n")
    assert missing_tests(page, []) == ["::test_none", "none.py::test_one"]
