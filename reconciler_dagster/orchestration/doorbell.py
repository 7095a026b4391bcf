"""From a waiting request to a run: the same run, whether the sensor submits it or the listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy import Engine

from reconciler_dagster.orchestration.partitions import ensure_partitions, partition_tags
from reconciler_dagster.orchestration.resources import PURPOSE_TAG
from reconciler_dagster.postgres import requests
from reconciler_dagster.postgres.clients import active_clients

if TYPE_CHECKING:
    from reconciler_dagster.orchestration.submission import Submission

MANUAL_SYNC = "manual_sync"
REQUEST_TAG = "reconciler/request"
# Enough to get over a launch that failed; after that a person must look.
LAUNCH_ATTEMPTS = 5
_ENDED = [
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
    dg.DagsterRunStatus.SUCCESS,
]


@dataclass(frozen=True)
class WantedRun:
    """A run of a client's delta. ``request_id``: the oldest row that waits for it."""

    client_id: str
    request_id: int
    run_key: str

    @property
    def tags(self) -> dict[str, str]:
        """Beside those that Dagster gives to every run of a sensor."""
        return {
            PURPOSE_TAG: "manual",
            "dagster/priority": "10",
            REQUEST_TAG: str(self.request_id),
        }

    def as_run_request(self) -> dg.RunRequest:
        """For a sensor to return."""
        return dg.RunRequest(
            run_key=self.run_key,
            partition_key=self.client_id,
            tags=self.tags | partition_tags(self.client_id),
        )


def wanted_runs(portal: Engine, instance: dg.DagsterInstance) -> list[WantedRun]:
    """The runs that the waiting requests call for, one a client.

    A run key is remembered for ever, so it is made of the oldest waiting row's id, and of how
    many runs for that row have ended without taking it over.
    """
    with portal.begin() as connection:
        requests.refuse_unknown(connection)
        waiting = requests.waiting(connection)
        if waiting and requests.refuse_unadopted(connection):
            waiting = requests.waiting(connection)
        clients = active_clients(connection) if waiting else []
    if not waiting:
        return []
    ensure_partitions(instance, clients)
    wanted = []
    for row in waiting:
        tag = {REQUEST_TAG: str(row.first)}
        ended = instance.get_runs_count(dg.RunsFilter(tags=tag, statuses=_ENDED))
        if ended < LAUNCH_ATTEMPTS:
            wanted.append(WantedRun(row.client_id, row.first, f"manual {row.first} {ended}"))
    return wanted


def submit(
    portal: Engine, instance: dg.DagsterInstance, submission: Submission, run: WantedRun
) -> str | None:
    """Create a run and launch it at once; it is queued where the limits leave no room.

    Returns the run's id; None where the sensor has taken the request.
    """
    from reconciler_dagster.orchestration import internals  # gRPC, which no command needs

    with requests.claimed_by_listener(portal, run.request_id, run.run_key) as free:
        if not free:
            return None
        run_id = submission.create(run.client_id, run.run_key, run.tags)
    internals.start(instance, run_id)
    return run_id
