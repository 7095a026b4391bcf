"""What the doctor looks at of Dagster."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

from sqlalchemy import Engine

from reconciler_dagster.cli.looking.finding import State
from reconciler_dagster.cli.output import keep_trace
from reconciler_dagster.config import Settings
from reconciler_dagster.notices import dagster as watched
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.pooler import Pooling, pooling


def daemon(portal: Engine) -> tuple[State, str]:
    """Whether it gives signs of life, as far as the listener has seen."""
    now = datetime.now(UTC)
    with portal.connect() as connection:
        seen = watched.noted(connection)
    life = watched.life(seen, now)
    if seen is None or life == "unseen":
        return "skipped", "nobody looks at it here: neither `reconciler up` nor a listener runs"
    if life == "ok":
        return "ok", "it gives signs of life"
    last = f" since {seen.heartbeat:%Y-%m-%d %H:%M:%S} UTC" if seen.heartbeat else ""
    return "warning", (
        f"it gives no sign of life{last}, so nothing is started by schedule: start it again, with "
        "`reconciler serve daemon` or the service or container that runs it"
    )


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
