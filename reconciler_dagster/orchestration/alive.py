"""Whether the process that executes a run lives. Needs nothing of Dagster, whose gRPC is slow."""

from __future__ import annotations

import psutil

from reconciler_dagster.processes import this_process

PROCESS_TAG = "reconciler/process"


def process_tag() -> dict[str, str]:
    """The tag for a run that this process executes itself, so that it can be seen to live."""
    return {PROCESS_TAG: this_process()}


def lives(pid: int, before: float) -> bool:
    """Whether the process is there and is older than a moment: numbers are used again."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= before + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
