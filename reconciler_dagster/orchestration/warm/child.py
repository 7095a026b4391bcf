"""What a process does that the warm parent has forked: execute one run, or report one."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.warm.protocol import GO, Request, read_line
from reconciler_dagster.processes import this_process

# A Postgres that was killed is back by then; later than that it is run monitoring's.
REPORT_FOR_SECONDS = 120.0


def become(work: Callable[[], int], keep: socket.socket | None = None) -> NoReturn:
    """Turn a freshly forked process into one of its own, do the work, and end with its exit code.

    Nothing of the parent's is kept but ``keep``: no descriptor, no signal handler, no way back
    into its loop.
    """
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        kept = keep.fileno() if keep else 3
        os.closerange(3, kept)
        os.closerange(kept + (1 if keep else 0), os.sysconf("SC_OPEN_MAX"))
        gc.enable()
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def execute(request: Request, connection: socket.socket) -> int:
    """Say who this is, wait for the word, and execute the run. Exit code 0: it has come to its
    end, or was not to be executed.
    """
    connection.sendall(this_process().encode() + b"\n")
    word = read_line(connection)
    connection.close()
    if word != GO:
        return 0
    _take_over(request)
    return 0 if internals.execute_run(request.run_id, request.instance) else 1


def report(request: Request, why: str) -> int:
    """Tell Dagster that a run's process has ended, as soon as Dagster's storage can be reached."""
    _take_over(request)
    deadline = time.monotonic() + REPORT_FOR_SECONDS
    pause = 0.2
    while True:
        try:
            internals.fail_run(request.run_id, request.instance, why)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 10)
        else:
            return 0


def _take_over(request: Request) -> None:
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    os.chdir(request.folder)
