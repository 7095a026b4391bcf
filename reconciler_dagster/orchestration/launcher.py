"""Runs on the code server, and whether they still live there.

Dagster's default launcher cannot tell, so a run whose code server died stays STARTED for ever
and blocks the queue behind it.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from reconciler_dagster.orchestration.alive import PROCESS_TAG, lives
from reconciler_dagster.processes import has_ended

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ANSWER_WITHIN_SECONDS = 10


class WatchedRunLauncher(DefaultRunLauncher):
    """The default launcher, with an answer for run monitoring."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks for each run that has started."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Dead only on evidence: run monitoring fails whatever is not RUNNING or SUCCESS."""
        if PROCESS_TAG in run.tags:
            there = not has_ended(run.tags[PROCESS_TAG])
            return _verdict(there, "the process that executed it is gone")
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:  # finished meanwhile, or launched by somebody else
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        known = _server_has(client, run.run_id)
        if not known and client.host in _LOOPBACK:
            # A server that was killed, or that has reloaded its code, leaves its workers at work.
            known = self._worker_lives(run.run_id)
        # No answer in time: too busy to answer is not dead.
        return _verdict(known is not False, "the server that it ran on does not know it any more")

    def _worker_lives(self, run_id: str) -> bool:
        for entry in self._instance.all_logs(run_id):
            event = entry.dagster_event
            data = event.engine_event_data if event and event.is_engine_event else None
            pid = data.metadata.get("pid") if data else None
            if pid is not None and lives(int(str(pid.value)), entry.timestamp):
                return True
        return False


def _verdict(alive: bool, reason: str) -> CheckRunHealthResult:
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"The run has died: {reason}.")


def _server_has(client: DagsterGrpcClient, run_id: str) -> bool | None:
    """Whether the run lives on the server; None where it does not answer in time."""
    try:
        answer = client.can_cancel_execution(
            CanCancelExecutionRequest(run_id=run_id), timeout=_ANSWER_WITHIN_SECONDS
        )
    except DagsterUserCodeUnreachableError as error:
        status = getattr(error.__cause__, "code", lambda: None)()
        return None if getattr(status, "name", "") == "DEADLINE_EXCEEDED" else False
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel
