"""The Celery application of the workers: `reconciler serve worker` starts them with it.

Everything that a run needs is imported before the worker forks its processes; nothing is opened.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import Any

import celery
import psutil
from dagster_celery.config import TASK_EXECUTE_JOB_NAME
from dagster_celery.make_app import make_app

from reconciler_dagster import environment
from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.celery_runs import broker, work
from reconciler_dagster.orchestration.celery_runs.settings import CONFIG
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY_QUEUE
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.warm.parent import preload
from reconciler_dagster.outlets import guard

# How long a worker that is told to stop waits for its runs. Docker and Kubernetes are told 90 s.
TASK_PATIENCE_SECONDS = 60.0

guard()
broker.use()
_REDIS = environment.value("RECONCILER_REDIS_URL")
app: Any = make_app(
    {
        "broker": _REDIS,
        "backend": _REDIS,
        "config_source": CONFIG,
        "task_default_queue": ORDINARY_QUEUE,
    }
)


@app.task(name=TASK_EXECUTE_JOB_NAME, track_started=True)  # type: ignore[untyped-decorator]
def execute_job(execute_job_args_packed: dict[str, Any]) -> int:
    """The task that dagster-celery's launcher sends."""
    work.execute(internals.run_id_of(execute_job_args_packed))
    return 0


@celery.signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _end_in_time(**_: Any) -> None:
    """No new run begins now, and those at work are waited for; what takes too long ends its part,
    in order, before whoever stops the worker loses patience.
    """
    timer = threading.Timer(TASK_PATIENCE_SECONDS, _interrupt_runs)
    timer.daemon = True
    timer.start()


def _interrupt_runs() -> None:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()


@celery.signals.worker_init.connect  # type: ignore[untyped-decorator]
def _warm_up(**_: Any) -> None:
    dagster_home()
    preload()
    gc.collect()
    gc.freeze()  # a collection in a run would write to, and so copy, what it shares with the others
