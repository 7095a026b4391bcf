"""The tags that tell which process executes a run. Needs nothing of Dagster, which is slow."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler_dagster.processes import this_process

# Of a run that a command executes itself.
PROCESS_TAG = "reconciler/process"
# Of a run in a process that a warm parent has forked for it.
WARM_TAG = "reconciler/warm-process"
# As the value of either: no process.
NOBODY = ""


def process_tag(run_id: str) -> dict[str, str]:
    """The tag for a run that this process executes itself, so that it can be seen to live."""
    return {PROCESS_TAG: f"{run_id} {this_process()}"}


def warm_tag(run_id: str, process: str) -> dict[str, str]:
    """The tag for a run that a warm process (`processes.this_process`) is about to execute."""
    return {WARM_TAG: f"{run_id} {process}"}


def process_of(run_id: str, tags: Mapping[str, str], name: str) -> str | None:
    """The process that a tag of a run names; None where there is none.

    Dagster copies the tags of a run to the run that executes it again: a tag names its run, and
    what it says of another one's process is not of this one's.
    """
    whose, _, process = tags.get(name, NOBODY).partition(" ")
    return process if process and whose == run_id else None
