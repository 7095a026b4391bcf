"""kill -9 of whatever a run depends on, in a real deployment: the next request is served, nothing
stays as if it ran, and nothing is run twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from reconciler_dagster.orchestration.warm import client
from reconciler_dagster_tests.deployment import UNFINISHED, Deployment, deployed, eventually

pytestmark = pytest.mark.minutes


@pytest.fixture(scope="module")
def host() -> Iterator[Deployment]:
    with deployed() as own:
        own.start_daemon()
        own.start_listener()
        yield own


@pytest.fixture
def instance(host: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "DATABASE_URL"):
        monkeypatch.setenv(name, host.environment[name])
    with dg.DagsterInstance.get() as own:
        yield own


Kill = Callable[[Deployment, int | None], None]


def warm_parent(host: Deployment, run: int | None) -> None:
    os.kill(client.parent_of(host.home) or 0, signal.SIGKILL)


def run_itself(host: Deployment, run: int | None) -> None:
    if run is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(run, signal.SIGKILL)


def parent_and_run(host: Deployment, run: int | None) -> None:
    warm_parent(host, run)
    run_itself(host, run)


def listener(host: Deployment, run: int | None) -> None:
    host.kill("listener")


def postgres(host: Deployment, run: int | None) -> None:
    host.postgres.process.kill()
    host.postgres.process.wait()
    host.postgres.stop()
    host.postgres.start()


# What may take the run with it; its request is then told so.
DEADLY = (run_itself, parent_and_run, postgres)


@pytest.mark.parametrize("kill", [warm_parent, *DEADLY, listener], ids=lambda kill: kill.__name__)
@pytest.mark.parametrize("moment", ["asked", "at work", "done"])
def test_a_kill_costs_at_most_the_run_that_it_hits(
    host: Deployment, instance: dg.DagsterInstance, kill: Kill, moment: str
) -> None:
    host.start_listener_again()
    first = host.ask()
    run = None
    if moment == "at work":
        eventually(lambda: host.process_of(instance, first) or host.state(first) != "pending")
        run = host.process_of(instance, first)
    if moment == "done":
        eventually(lambda: host.state(first) == "succeeded")
    kill(host, run)

    second = host.ask()
    eventually(lambda: host.state(second) == "succeeded")
    eventually(lambda: host.state(first) in ("succeeded", "failed"))
    eventually(lambda: not instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)))
    assert host.state(first) == "succeeded" or kill in DEADLY
    assert_nothing_ran_twice(instance)


def assert_nothing_ran_twice(instance: dg.DagsterInstance) -> None:
    runs = [run for run in instance.get_runs() if "dagster/run_key" in run.tags]
    keys = Counter(run.tags["dagster/run_key"] for run in runs)
    assert {key: n for key, n in keys.items() if n > 1} == {}
    for run in runs:
        started = instance.all_logs(run.run_id, dg.DagsterEventType.RUN_START)
        assert len(started) <= 1, run.tags
