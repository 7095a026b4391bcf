"""Dagster's private parts: this fails when an upgrade moves one, and says which."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any

import dagster as dg
import pytest
from dagster._core.run_coordinator import QueuedRunCoordinator

from reconciler_dagster.orchestration import internals

ROOT = Path(internals.__file__).parent.parent
# What else leans on private parts: where Dagster keeps its records, the tags of a range of
# partitions, what is read of ticks, what a launcher is configured with, and how runs are created
# (test_submission.py).
OTHERS = {
    "orchestration/bookkeeping.py",
    "orchestration/celery_runs/launcher.py",
    "orchestration/seen.py",
    "orchestration/sqlite.py",
    "orchestration/submission.py",
    "orchestration/storage.py",
    "orchestration/stored.py",
    "orchestration/great_sync.py",
}


# What it has of Dagster, and no more.
dagsters: Any = internals


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            dagsters._execute_run_command_body,
            "run_id instance write_stream_fn set_exit_code_on_failure",
        ),
        (dagsters.get_instance_for_cli, "instance_ref logger"),
        (dagsters.capture_interrupts, ""),
        (dagsters.send_interrupt, ""),
        (dagsters.TagConcurrencyLimitsCounter, "tag_concurrency_limits in_progress_tagged_items"),
        (internals.DefaultRunLauncher.launch_run, "self context"),
        (internals.DefaultRunLauncher.terminate, "self run_id"),
        (internals.DefaultRunLauncher._get_grpc_client_for_termination, "self run_id"),
        (internals.LaunchRunContext, "dagster_run workspace"),
        (dg.DagsterInstance.launch_run, "self run_id workspace"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_what_is_called_takes_what_it_took(
    function: Callable[..., object], parameters: str
) -> None:
    found = list(inspect.signature(function).parameters)
    assert found == parameters.split(), f"dagster {version('dagster')} has moved it"


def test_they_are_touched_in_one_file() -> None:
    touching = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._"):
                touching.add(path.relative_to(ROOT).as_posix())
    assert touching == {"orchestration/internals.py"} | OTHERS


def test_the_queue_s_limits_are_read_as_its_own_daemon_reads_them(tmp_path: Path) -> None:
    overrides = {
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {
                "max_concurrent_runs": 2,
                "tag_concurrency_limits": [
                    {"key": "k", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
                ],
            },
        }
    }
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)

        def run(tag: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
            return instance.add_run(dg.DagsterRun("job", tags={"k": tag}, status=status))

        run("a", dg.DagsterRunStatus.STARTED)
        waiting = [run(tag, dg.DagsterRunStatus.NOT_STARTED) for tag in "ab"]
        assert [internals.fits_the_queue(instance, one) for one in waiting] == [False, True]
        starting = run("b", dg.DagsterRunStatus.STARTING)
        assert internals.fits_the_queue(instance, starting), "it is not in its own way"
        assert not internals.fits_the_queue(instance, run("c", dg.DagsterRunStatus.NOT_STARTED))


class _AwayAtFirst:
    """Dagster's instance as far as it is asked: away at first, then with a cancel."""

    def __init__(self) -> None:
        self.asked = 0

    def get_run_by_id(self, run_id: str) -> dg.DagsterRun:
        self.asked += 1
        if self.asked < 3:
            raise RuntimeError("the connection was closed")
        return dg.DagsterRun("job", run_id, status=dg.DagsterRunStatus.CANCELING)


def test_a_cancel_is_seen_after_the_storage_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted = Event()
    monkeypatch.setattr(internals, "CANCEL_POLL_SECONDS", 0.01)
    monkeypatch.setattr(internals, "send_interrupt", interrupted.set)
    end = internals._watch_for_cancel(_AwayAtFirst(), "run")  # type: ignore[arg-type]
    assert interrupted.wait(60)
    end()
