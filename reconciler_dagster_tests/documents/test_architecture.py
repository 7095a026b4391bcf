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

from reconciler_dagster_tests.documents.rooms import PACKAGE, ROOT, drawn, imports, reduced
from reconciler_dagster_tests.model import invariants

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PICTURES = {
    f"{path.name} {number}": block
    for path in sorted((ROOT / "docs").rglob("*.md"))
    for number, block in enumerate(re.findall(r"```mermaid\n(.*?)```", path.read_text(), re.DOTALL))
}
MERMAID = "11.12.0"


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
