"""Processor time of commands, as multiples of what `python -c "import dagster"` takes beside them.

    .venv/bin/python benchmarks/commands.py [leads]

Starts the demo (1,000 leads unless given) and calls `status`, and `run` with nothing to do: beside
`up`, whose warm process has the imports, and in a Dagster home without one.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from delta import demo  # beside this file

ROUNDS = 9
IMPORTS = [sys.executable, "-c", "import dagster"]


def main() -> None:
    leads = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    command = str(Path(sys.executable).with_name("reconciler"))
    with demo(leads) as (state, running), tempfile.TemporaryDirectory() as elsewhere:
        beside = {"RECONCILER_STATE_DIR": str(state)}
        alone = {
            "RECONCILER_STATE_DIR": elsewhere,
            "DATABASE_URL": running["database_url"],
            "AIRTABLE_API_KEY": running["airtable_api_key"],
            "AIRTABLE_ENDPOINT_URL": running["airtable_endpoint_url"],
            "PORTAL_JWT_SECRET": running["portal_jwt_secret"],
        }
        cases = {
            "status beside up": ([command, "status"], beside),
            "status": ([command, "status"], alone),
            "run beside up, nothing to do": ([command, "run"], beside),
            "run, nothing to do": ([command, "run"], alone),
        }
        for called, environment in cases.values():  # the first fills the portal
            _seconds(called, environment)
        figures: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, (called, environment) in cases.items():
                imports = _seconds(IMPORTS, {})
                figures[name].append(_seconds(called, environment) / imports)
    for name, ratios in figures.items():
        print(
            f"{name}: {statistics.median(ratios):.2f} times import dagster in processor time "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def _seconds(called: list[str], environment: dict[str, str]) -> float:
    """Processor time of a process and of those that it has waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(called, env=os.environ | environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
