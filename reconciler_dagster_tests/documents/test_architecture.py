"""docs/architecture.md: its picture is that of the imports, and it renders; so do all others."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import platformdirs
import pytest
from playwright.sync_api import sync_playwright

from reconciler_dagster.core import source
from reconciler_dagster_tests.documents.rooms import (
    PACKAGE,
    ROOT,
    drawn,
    foreign_words,
    importers,
    imports,
    reduced,
)
from reconciler_dagster_tests.model import invariants

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PICTURES = {
    f"{path.name} {number}": block
    for path in sorted((ROOT / "docs").rglob("*.md"))
    for number, block in enumerate(re.findall(r"```mermaid\n(.*?)```", path.read_text(), re.DOTALL))
}
MERMAID = "11.12.0"
# The engine's one door to a base, and the two commands that look at Airtable on purpose.
MAY_IMPORT_AIRTABLE = {"engine/doors.py", "cli/map.py", "cli/looking/clients.py"}


def test_the_arrows_are_the_imports() -> None:
    """Solid: what is left of the imports without what a chain stands for. Dotted: upwards."""
    solid, dotted = drawn(PICTURES["architecture.md 0"])
    there = imports()
    assert dotted <= there, f"drawn as upward and not imported: {dotted - there}"
    wanted = reduced(there - dotted)
    assert solid == wanted, f"to draw: {wanted - solid}; to take away: {solid - wanted}"


def test_only_the_picture_s_arrow_points_up() -> None:
    _, dotted = drawn(PICTURES["architecture.md 0"])
    assert dotted == {("orchestration", "cli")}, "an arrow that points up is a debt: pay it back"


def test_airtable_is_known_to_nobody_above_it_but_its_door() -> None:
    """All others ask a `core.source.Source`."""
    above = {name for name in importers("reconciler_dagster.airtable") if _room(name) != "airtable"}
    assert above == MAY_IMPORT_AIRTABLE
    assert {_room(name) for name in importers("pyairtable")} == {"airtable"}


@pytest.mark.parametrize("room", ["core", "postgres", "engine", "components"])
def test_no_status_and_no_formula_stands_above_airtable(room: str) -> None:
    found = {
        str(path.relative_to(PACKAGE)): words
        for path in (PACKAGE / room).rglob("*.py")
        if (words := foreign_words(path.read_text()))
    }
    assert found == {}


def test_errors_of_a_source_have_a_meaning_and_no_status() -> None:
    """So that mypy refuses to compare one, in whichever room."""
    errors = [one for one in vars(source).values() if isinstance(one, type)]
    errors = [one for one in errors if issubclass(one, source.SourceError)]
    assert len(errors) >= 7
    for error in errors:
        assert vars(error("told", "why")) == {"reason": "why"}
        assert not hasattr(error, "status")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("if error.status == 403: pass", [".status"]),
        ("a = error.status\nif a in (502, 503): pass", [".status"]),
        ("match answer:\n case x if x.status_code: pass", [".status_code"]),
        ("f = f'IS_AFTER(CREATED_TIME(), {when})'", ["IS_AFTER(", "CREATED_TIME("]),
        ("f = 'RECORD_ID() = 1'", ["RECORD_ID("]),
        ('"""As CREATED_TIME() is compared."""\nstatus = 1\nprint(status)', []),
    ],
)
def test_what_only_airtable_should_know_is_found(text: str, found: list[str]) -> None:
    assert [word.partition(": ")[2] for word in foreign_words(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "from reconciler_dagster import airtable",
        "from reconciler_dagster.airtable import errors",
        "from reconciler_dagster.airtable.base import Base",
        "def late():\n    import reconciler_dagster.airtable.errors as e",
    ],
)
def test_whoever_imports_it_is_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "new.py").write_text(text)
    (tmp_path / "engine" / "other.py").write_text("import reconciler_dagster.airtables")
    assert importers("reconciler_dagster.airtable", tmp_path) == {"engine/new.py"}


def test_every_package_is_drawn() -> None:
    solid, _ = drawn(PICTURES["architecture.md 0"])
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= {room for arrow in solid for room in arrow}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("flowchart TD\n  a --> b\n  b --> a", "a circle"),
        ("flowchart TD\n  a ==> b", "neither"),
        ('flowchart TD\n  a["x --> b', "neither"),
    ],
)
def test_a_picture_that_cannot_be_held_against_imports_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reduced(drawn(text)[0])


def test_what_a_chain_stands_for_is_left_out() -> None:
    assert reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}


def test_every_invariant_is_listed_with_its_function() -> None:
    table = PAGE.partition("## What must always hold")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| .* \| `(\w+)` \|$", table, re.MULTILINE)
    told = {
        int(doc[0]): name
        for name, one in vars(invariants).items()
        if callable(one) and (doc := re.match(r"\d+", one.__doc__ or ""))
    }
    assert {int(number): name for number, name in rows} == told


def _room(name: str) -> str:
    return name.partition("/")[0]


@pytest.fixture(scope="module")
def mermaid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mermaid itself, one file; fetched once and kept in the user's cache."""
    if (npm := shutil.which("npm")) is None or shutil.which("chromium") is None:
        pytest.skip("npm and chromium are needed")
    kept = Path(platformdirs.user_cache_dir("reconciler")) / f"mermaid-{MERMAID}.min.js"
    if not kept.is_file():
        folder = tmp_path_factory.mktemp("mermaid")
        command = [npm, "pack", "--silent", f"mermaid@{MERMAID}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        with tarfile.open(folder / f"mermaid-{MERMAID}.tgz") as archive:
            archive.extract("package/dist/mermaid.min.js", folder, filter="data")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "package" / "dist" / "mermaid.min.js", kept)
    return kept


def test_every_picture_renders(mermaid: Path) -> None:
    """In a browser, by mermaid itself: it raises where it cannot read a picture."""
    assert len(PICTURES) >= 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.add_script_tag(path=mermaid)
        for name, text in PICTURES.items():
            drawing = page.evaluate("t => mermaid.render('picture', t).then(r => r.svg)", text)
            assert drawing.startswith("<svg"), name
            assert "Syntax error" not in drawing, name
        with pytest.raises(Exception, match="Parse error"):
            page.evaluate("mermaid.render('picture', 'flowchart TD\\n a --> --> b')")
        browser.close()
