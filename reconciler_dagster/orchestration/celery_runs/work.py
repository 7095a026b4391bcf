"""What a worker's process does with a task: it executes the run, unless it has been at work."""

from __future__ import annotations

import os

import dagster as dg

from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration import internals
from reconciler_dagster.outlets import guard
from reconciler_dagster.postgres import run_beats
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.processes import this_process

_BEGUN = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)

# This process's instance, kept from run to run: opening one takes half a second.
_instance: dg.DagsterInstance | None = None


def _forget_parents_instance() -> None:
    global _instance
    _instance = None


os.register_at_fork(after_in_child=_forget_parents_instance)


def execute(run_id: str) -> None:
    """Execute a run that has not begun.

    One that has: its task was handed out again, since the process that had it is gone, and then the
    run is failed; or since the broker has lost its memory, and then it is left alone.
    """
    guard()
    settings = Settings.load()
    portal = engine(settings.require_database_url())
    instance = _opened()
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    if run.status in _BEGUN:
        gone = run_beats.is_silent(portal, run_id)
        run = instance.get_run_by_id(run_id)
        if gone and run is not None and not run.is_finished:
            instance.report_run_failed(run, "The run has died: its worker's process is gone.")
        return
    with run_beats.beating(portal, run_id, this_process()):
        internals.execute_interruptibly(instance, run_id)


def _opened() -> dg.DagsterInstance:
    global _instance
    if _instance is None:
        _instance = dg.DagsterInstance.get()
    return _instance
