"""What a process that the warm parent has forked does: a run or a command, or report a run."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Sequence
from threading import Thread
from typing import NoReturn

from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.warm.protocol import GO, WARM, Request, read_line
from reconciler_dagster.outlets import guard
from reconciler_dagster.processes import this_process

# A Postgres that was killed is back by then; later than that it is run monitoring's.
REPORT_FOR_SECONDS = 120.0
# What this process has open, on Linux and macOS.
_OPEN = "/dev/fd"
_MOST_OPEN = 4096


def become(work: Callable[[], int], keep: Collection[int]) -> NoReturn:
    """Turn a freshly forked process into one of its own, do the work, and end with its exit code.

    Nothing of the parent's is kept but the descriptors in ``keep``: no signal handler, no way back
    into its loop.
    """
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _close_all_but(keep)
        gc.enable()
        code = work()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # it strikes secrets out
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _close_all_but(kept: Collection[int]) -> None:
    """Close what is open above stderr. Only what is open: where the limit is set high, to try every
    number takes minutes.
    """
    try:
        numbers = [int(name) for name in os.listdir(_OPEN)]
    except OSError:  # no such folder here, or no descriptor left to read it with
        numbers = list(range(_MOST_OPEN))
    for number in numbers:
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)


def execute(request: Request, connection: socket.socket) -> int:
    """Say who this is, wait for the word, and execute the run. Exit code 0: it has come to its
    end, or was not to be executed.
    """
    if not _has_the_word(connection):
        return 0
    connection.close()
    _take_over(request)
    return 0 if internals.execute_run(request.run_id, request.instance) else 1


def execute_command(request: Request, connection: socket.socket, files: Sequence[int]) -> int:
    """The same for a command, on the caller's stdin, stdout and stderr; tells its exit code."""
    if not _has_the_word(connection):
        return 0
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww")
    )
    _take_over(request)
    Thread(target=_interrupt_without, args=[connection], daemon=True).start()
    from reconciler_dagster.cli import main

    try:
        main(request.command, prog_name="reconciler", obj=WARM)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller goes now
    sys.stdout.flush()
    connection.sendall(f"{code}\n".encode())
    return 0


def _has_the_word(connection: socket.socket) -> bool:
    """Say who this is, and wait. Not where the launcher has gone without a word: it may have
    started the run otherwise.
    """
    try:
        connection.sendall(this_process().encode() + b"\n")
        return read_line(connection) == GO
    except OSError:
        return False


def _interrupt_without(caller: socket.socket) -> None:
    """Wait for the caller to go: nobody is there any more to press Ctrl-C."""
    with contextlib.suppress(OSError):
        caller.recv(1)
    os.kill(os.getpid(), signal.SIGINT)


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
