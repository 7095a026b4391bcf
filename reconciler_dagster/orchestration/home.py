"""The Dagster home: whose settings apply when DAGSTER_HOME is not set."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler_dagster.config import project_file, state_dir


def dagster_home() -> Path:
    """Make sure that there is a Dagster home, and that this process and its children use it.

    DAGSTER_HOME where it is set; else a folder of the state folder, with the project's
    `dagster.yaml` in it.
    """
    configured = os.environ.get("DAGSTER_HOME")
    if configured:
        return Path(configured)
    home = state_dir().resolve() / "dagster"
    home.mkdir(exist_ok=True)
    wanted = project_file("dagster.yaml").read_text()
    target = home / "dagster.yaml"
    if not target.exists() or target.read_text() != wanted:
        # Replaced in one go: another process may be reading it.
        fresh = target.with_suffix(f".{os.getpid()}")
        fresh.write_text(wanted)
        fresh.replace(target)
    os.environ["DAGSTER_HOME"] = str(home)
    return home
