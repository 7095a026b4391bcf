"""The documentation's site: built as `make docs` does, and no warning let through."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler_dagster_tests.documents.rooms import ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")


def build(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(
        [*command, "--config-file", str(config), "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_built_without_a_warning(tmp_path: Path) -> None:
    done = build(tmp_path, ROOT / "mkdocs.yml")
    assert done.returncode == 0, done.stderr
    for page in ("", "architecture", "contributing", "reporting", "changelog", "reference/tables"):
        assert (tmp_path / page / "index.html").is_file(), page
    assert 'class="mermaid"' in (tmp_path / "architecture" / "index.html").read_text()
    start = (tmp_path / "index.html").read_text()
    assert 'href="reference/settings/"' in start, "links of the README fit"
    assert "fonts.googleapis" not in start


def test_a_link_to_nowhere_is_not_let_through(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "only.md").write_text("# Only\n\n[beside](../nothing.md)\n")
    text = (ROOT / "mkdocs.yml").read_text().partition("nav:")[0]
    config = tmp_path / "mkdocs.yml"
    config.write_text(text.replace("scripts/site.py", str(ROOT / "scripts" / "site.py")))
    done = build(tmp_path / "site", config)
    assert done.returncode != 0
    assert "links to ../nothing.md" in done.stderr
