"""`reconciler` in a process of its own, without the seconds that its imports take.

A process that has imported every command forks for each call. So a call has an environment, a
folder, outlets and an end of its own, as from a shell; only that it is found and imported is not
tried, which test_cli.py and test_supervisor.py do.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IN, OUT, ERR = "in", "out", "err"
# What commands, and what they use, import only when they are at it.
_LATER = (
    "dagster._core.execution.execute_in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "pandas",
    "pyairtable.formulas",
    "reconciler_dagster.notices.watcher",
    "reconciler_dagster.orchestration.storage",
)


def reconciler(
    *arguments: str, env: Mapping[str, str], cwd: Path, entered: str = ""
) -> subprocess.CompletedProcess[str]:
    """Call it, and wait for its end; ``entered`` is its standard input."""
    with tempfile.TemporaryDirectory(prefix="reconciler-call-") as name:
        at = Path(name)
        (at / IN).write_text(entered)
        asked = {"arguments": arguments, "env": dict(env), "cwd": str(cwd), "at": name}
        code = _ask(asked)
        return subprocess.CompletedProcess(
            arguments, code, (at / OUT).read_text(), (at / ERR).read_text()
        )


def _ask(asked: dict[str, Any]) -> int:
    nursery = _nursery()
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(json.dumps(asked) + "\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


@functools.cache
def _nursery() -> subprocess.Popen[str]:
    """One for all calls of this process, with which it ends."""
    process = subprocess.Popen(
        [sys.executable, "-P", __file__],  # this folder is not where imports look
        # A pool of threads, which pandas brings, is nothing to fork.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.wait)
    assert process.stdin is not None
    atexit.register(process.stdin.close)
    return process


def load() -> None:
    """Import what a call would, but for the definitions, which depend on its environment."""
    from reconciler_dagster.cli.group import COMMANDS

    for module in (*(where.partition(":")[0] for where, _ in COMMANDS.values()), *_LATER):
        importlib.import_module(module)
    gc.freeze()  # else each call looks through all of it, when it ends at the latest


def _serve() -> None:
    """Returns in each process that is to be a call."""
    load()
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            return _become(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
    sys.exit()


def _become(asked: dict[str, Any]) -> None:
    for number, name in enumerate((IN, OUT, ERR)):
        opened = os.open(Path(asked["at"], name), os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0)  # what the old one has read ahead is not for this one
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    sys.argv = [str(Path(sys.executable).with_name("reconciler")), *asked["arguments"]]


if __name__ == "__main__":
    _serve()
    from reconciler_dagster.cli import main

    main()
