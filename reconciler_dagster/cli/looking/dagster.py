"""What the doctor looks at of Dagster."""

from __future__ import annotations

import subprocess
import sys

from reconciler_dagster.cli.looking.finding import State
from reconciler_dagster.cli.output import keep_trace
from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.pooler import Pooling, pooling


def storage() -> tuple[State, str]:
    """Whether it can be used."""
    url = Settings.load().dagster_postgres_url
    behind = ""
    if url is not None and pooling(engine(url.get_secret_value())) is Pooling.TRANSACTION:
        behind = (
            ", behind a pooler in transaction mode: all works; give dagster-webserver a database "
            "user of its own, for its statement timeout stays on connections that others get"
        )
    # In a process of its own: Dagster takes longer to import than all other checks together.
    done = subprocess.run(
        [sys.executable, "-m", "reconciler_dagster.orchestration.instance"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return "ok", f"{done.stdout.strip()}{behind}"
    if done.returncode == 2:
        return "failed", done.stdout.strip()
    kept = keep_trace(done.stderr)
    return "failed", f"its check ended with {done.returncode} (the whole story: {kept})"
