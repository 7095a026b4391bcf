"""The tag of a run that a command executes itself. Needs nothing of Dagster, which is slow."""

from __future__ import annotations

from reconciler_dagster.processes import this_process

PROCESS_TAG = "reconciler/process"


def process_tag() -> dict[str, str]:
    """The tag for a run that this process executes itself, so that it can be seen to live."""
    return {PROCESS_TAG: this_process()}
