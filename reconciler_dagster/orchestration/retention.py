"""What a thousand clients leave behind: 100,000 runs a day, each with some 40 events.

Ticks are forgotten by Dagster itself, by `retention` in dagster.yaml; runs with their events by a
job; the engine's own tables by the listener, or by runs where there is none
(`postgres/retention.py`).
"""

# No `from __future__ import annotations` here: Dagster reads the types at run time.
import time
from datetime import UTC, datetime, timedelta

import dagster as dg

from reconciler_dagster.config import Settings
from reconciler_dagster.orchestration.dagster_yaml import ORDINARY
from reconciler_dagster.orchestration.environments import SCHEDULE_STATUS
from reconciler_dagster.orchestration.resources import PURPOSE_TAG

FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
# A run of the Great Sync is the proof of its months in the UI: it is kept as long as the history of
# the fields.
_PROOF = "great_sync"
_BATCH = 200
# How long the job works at a time. What is left is there an hour later.
BUDGET_SECONDS = 900.0


class RetentionConfig(dg.Config):
    """What a person may choose in the launchpad: days; the settings' unless given."""

    keep_runs_days: int | None = None


@dg.op(description="Deletes finished runs with their events, the oldest first.")
def forget_old_runs_op(context: dg.OpExecutionContext, config: RetentionConfig) -> None:
    """Forget."""
    settings = Settings.load()
    now = datetime.now(UTC)
    days = config.keep_runs_days or settings.keep_runs_days
    deadline = time.monotonic() + BUDGET_SECONDS
    of_runs = _forget(context.instance, now - timedelta(days=days), deadline, proofs=False)
    oldest_proof = now - timedelta(days=max(days, settings.history_days))
    of_proofs = _forget(context.instance, oldest_proof, deadline, proofs=True)
    context.add_output_metadata({"runs": of_runs, "runs of the Great Sync": of_proofs})


def _forget(
    instance: dg.DagsterInstance, before: datetime, deadline: float, *, proofs: bool
) -> int:
    """Delete what ended before a moment: the runs of the Great Sync, or all others."""
    deleted, cursor = 0, None
    tags = {PURPOSE_TAG: _PROOF} if proofs else {}
    chosen = dg.RunsFilter(statuses=FINISHED, created_before=before, tags=tags)
    while time.monotonic() < deadline:
        runs = instance.get_runs(chosen, cursor=cursor, limit=_BATCH, ascending=True)
        if not runs:
            break
        for run in runs:
            if proofs or run.tags.get(PURPOSE_TAG) != _PROOF:
                instance.delete_run(run.run_id)
                deleted += 1
            else:
                cursor = run.run_id  # it stays, so a page can begin after it
    return deleted


@dg.job(
    name="forget_old_runs",
    executor_def=dg.in_process_executor,
    tags=ORDINARY,
    description="Keep Dagster's records from growing for ever.",
)
def forget_old_runs_job() -> None:
    """The one op."""
    forget_old_runs_op()


@dg.schedule(
    job=forget_old_runs_job,
    cron_schedule="37 * * * *",
    default_status=SCHEDULE_STATUS,
    description="Every hour: what is older than RECONCILER_KEEP_RUNS_DAYS.",
)
def forget_every_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run."""
    return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
