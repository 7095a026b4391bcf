"""Known holes of the pinned packages, as pip-audit finds them; `make audit-packages`, and CI.

Ends with 1 if a package has one. What could not be looked up (a package that the service does not
know, a service that cannot be reached) is said aloud and fails nothing: it says nothing about us.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parent.parent / "requirements.lock"
# Without these pip-audit would make an environment of its own to resolve what is pinned already.
COMMAND = ["-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]


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


def main() -> int:
    """Returns the exit code."""
    command = [sys.executable, *COMMAND, "--format", "json", "-r", str(LOCK)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"WARNING: no package could be looked up: {last}")
        return 0
    lines, code = verdict(packages)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
