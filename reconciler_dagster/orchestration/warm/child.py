"""What a process does that the warm parent has forked: execute one run, or report one."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.warm.protocol import GO, Request, read_line
from reconciler_dagster.outlets import guard
from reconciler_dagster.processes import this_process

# A Postgres that was killed is back by then; later than that it is run monitoring's.
REPORT_FOR_SECONDS = 120.0
# What this process has open, on Linux and macOS.
_OPEN = "/dev/fd"
_MOST_OPEN = 4096


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
        _close_all_but(keep.fileno() if keep else -1)
        gc.enable()
        code = work()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # it strikes secrets out
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _close_all_but(kept: int) -> None:
    """Close what is open above stderr. Only what is open: where the limit is set high, to try every
    number takes minutes.
    """
    try:
        numbers = [int(name) for name in os.listdir(_OPEN)]
    except OSError:  # no such folder here, or no descriptor left to read it with
        numbers = list(range(_MOST_OPEN))
    for number in numbers:
        if number > 2 and number != kept:
            with contextlib.suppress(OSError):
                os.close(number)


def execute(request: Request, connection: socket.socket) -> int:
    """Say who this is, wait for the word, and execute the run. Exit code 0: it has come to its
    end, or was not to be executed.
    """
    try:
        connection.sendall(this_process().encode() + b"\n")
        word = read_line(connection)
        connection.close()
    except OSError:
        return 0  # the launcher has gone without a word, and may have started the run otherwise
    if word != GO:
        return 0
    _take_over(request)
    return 0 if internals.execute_run(request.run_id, request.instance) else 1


def report(request: Request, process: int, why: str) -> int:
    """Tell Dagster that a process (its number) of a run has ended, once its storage answers."""
    _take_over(request)
    deadline = time.monotonic() + REPORT_FOR_SECONDS
    pause = 0.2
    while True:
        try:
            internals.fail_run(request.run_id, request.instance, process, why)
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
    guard()  # its secrets may be others than the parent's
    time.tzset()
    os.chdir(request.folder)
