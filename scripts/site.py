"""A hook of mkdocs: pages that lie beside docs/ become part of the site, with links that fit.

A link that leads neither to a page nor to a place that is named here is a warning, which
`mkdocs build --strict` does not let through.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# Pages beside docs/, and what they are called in the site. GitHub's and the site's names for the
# policy and for the table of threats would differ in case alone.
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CHANGELOG.md": "changelog.md",
}
# What is not part of the site, and the page that says the same.
INSTEAD = {".env.example": "reference/settings.md", "monitoring": "reference/metrics.md"}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#:\s]+)(#[^)\s]*)?\)")
log = logging.getLogger("mkdocs.plugins.site")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages beside docs/."""
    for source, name in BESIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=with_links(text, source, name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Have the links of a page below docs/ fit, that lead out of it."""
    name = page.file.src_uri
    return markdown if name in BESIDE.values() else with_links(markdown, f"docs/{name}", name)


def with_links(text: str, source: str, name: str) -> str:
    """A page's text with its links as they are in the site. ``source``: its path in the
    repository; ``name``: its path in the site.
    """

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        place = BESIDE.get(target) or INSTEAD.get(target) or target.removeprefix("docs/")
        if place == target:
            log.warning("%s links to %s, which is not part of the site", source, match[2])
        relative = posixpath.relpath(place, posixpath.dirname(name) or ".")
        return f"{match[1]}{relative}{match[3] or ''})"

    return LINK.sub(link, text)
