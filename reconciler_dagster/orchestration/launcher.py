"""Runs in warm processes, and whether they still live there.

A run starts in a process that a warm parent on this host has forked, with everything imported;
where none can be had, on the code server as with Dagster's default launcher. That one cannot tell
whether a run has died, so a run whose server died would stay STARTED for ever and block the queue
behind it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from dagster import DagsterRun

from reconciler_dagster import processes
from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.alive import (
    NOBODY,
    PROCESS_TAG,
    WARM_TAG,
    process_of,
    warm_tag,
)
from reconciler_dagster.orchestration.internals import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    LaunchRunContext,
    WorkerStatus,
)
from reconciler_dagster.orchestration.warm import client

_ANSWER_WITHIN_SECONDS = 10


class WatchedRunLauncher(DefaultRunLauncher):
    """The default launcher, but warm, and with an answer for run monitoring."""

    launches_alone = True

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run warm; the ordinary way where that cannot be had, and say so in its log.

        Two launchers that looked at the limits of the queue at the same time may both have seen
        room for one run. The run is marked as starting by now, for the other to see, so a second
        look cannot miss it: where there is no room after all, the run waits in the queue again.
        """
        run = context.dagster_run
        self._forget_process(run.run_id)  # of an attempt before
        if not internals.fits_the_queue(self._instance, run):
            internals.enqueue(self._instance, run)
            return
        if not _code_is_here(context):
            super().launch_run(context)
            return
        try:
            client.launch(
                Path(self._instance.root_directory),
                run.run_id,
                internals.reference(self._instance),
                lambda there: self._instance.add_run_tags(run.run_id, warm_tag(run.run_id, there)),
            )
        except client.NoWarmProcess as error:
            self._forget_process(run.run_id)
            self._instance.report_engine_event(
                f"No warm process can be had ({error}): the run is started the ordinary way, and "
                "takes some seconds longer.",
                run,
                cls=self.__class__,
            )
            if context.workspace is None:  # the listener has none: the daemon shall launch it
                internals.enqueue(self._instance, run)
            else:
                super().launch_run(context)

    def _forget_process(self, run_id: str) -> None:
        """Take back which warm process was to execute a run: it does not, and may soon be gone."""
        run = self._instance.get_run_by_id(run_id)
        if run is not None and run.tags.get(WARM_TAG, NOBODY) != NOBODY:
            self._instance.add_run_tags(run_id, {WARM_TAG: NOBODY})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run. One on another host sees by itself that it is to be cancelled."""
        run = self._instance.get_run_by_id(run_id)
        there = process_of(run_id, run.tags, WARM_TAG) if run is not None else None
        if run is None or run.is_finished or there is None:
            return super().terminate(run_id)  # type: ignore[no-any-return,no-untyped-call]
        self._instance.report_run_canceling(run)
        if not processes.is_here(there):
            return True
        if not processes.may_live(there):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(processes.number_of(there), signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks for each run that has started."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Dead only on evidence: run monitoring fails whatever is not RUNNING or SUCCESS."""
        named = (process_of(run.run_id, run.tags, name) for name in (WARM_TAG, PROCESS_TAG))
        if (there := next(filter(None, named), None)) is not None:
            return _verdict(processes.may_live(there), "the process that executed it is gone")
        server = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if server is None:  # finished meanwhile, or launched by somebody else
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        known = internals.server_has(server, run.run_id, _ANSWER_WITHIN_SECONDS)
        if not known and server.host in internals.LOOPBACK:
            # A server that was killed, or that has reloaded its code, leaves its workers at work.
            known = self._worker_lives(run.run_id)
        # No answer in time: too busy to answer is not dead.
        return _verdict(known is not False, "the server that it ran on does not know it any more")

    def _worker_lives(self, run_id: str) -> bool:
        for entry in self._instance.all_logs(run_id):
            event = entry.dagster_event
            data = event.engine_event_data if event and event.is_engine_event else None
            pid = data.metadata.get("pid") if data else None
            if pid is not None and processes.lives(int(str(pid.value)), entry.timestamp):
                return True
        return False


def _code_is_here(context: LaunchRunContext) -> bool:
    """Whether a process of this host and this Python can execute the run."""
    executable = internals.executable_of(context.dagster_run)
    return executable == sys.executable and internals.host_of_location(context) is None


def _verdict(alive: bool, reason: str) -> CheckRunHealthResult:
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"The run has died: {reason}.")
