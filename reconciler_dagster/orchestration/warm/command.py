"""A command of the command line, executed by a warm process where there is one.

The imports of a run take more processor time than a quiet run itself. Where `up` or a launcher has
left a warm process, it has them already. None is started for a command.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from reconciler_dagster.orchestration.warm.client import connect, hand_over
from reconciler_dagster.orchestration.warm.protocol import (
    UNREADABLE,
    Request,
    fingerprint,
    place,
    read_line,
)
from reconciler_dagster.processes import number_of

_FORWARDED = (signal.SIGINT, signal.SIGTERM)


def execute(home: Path, command: Sequence[str]) -> int | None:
    """Have a command executed by the warm process of this Dagster home, on this process's stdin,
    stdout and stderr, and wait for its end.

    Returns its exit code, or None where nothing was executed, because there is no warm process of
    this code. Ctrl-C reaches the command.
    """
    try:
        connection = connect(place(home))
    except OSError:
        return None
    if connection is None:
        return None
    with connection:
        process = _begin(connection, command)
        return None if process is None else _wait(connection, process)


def _begin(connection: socket.socket, command: Sequence[str]) -> int | None:
    """The number of the process that is at work now; None where there is none, and will be none."""
    noted: list[str] = []
    try:
        files = [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)]
        request = Request(fingerprint(), "", "", dict(os.environ), os.getcwd(), list(command))
        begun = hand_over(connection, request, noted.append, files)
    except (ValueError, AttributeError, *UNREADABLE):  # a stream that is no file, among others
        return None
    return number_of(noted[0]) if begun else None


def _wait(connection: socket.socket, process: int) -> int:
    with _forwarding(process):
        try:
            connection.settimeout(None)
            return int(read_line(connection))
        except (OSError, ValueError):
            click.echo("Error: the process of the run was ended from outside.", err=True)
            return 1


@contextmanager
def _forwarding(process: int) -> Iterator[None]:
    """Signals to this process go to that one."""

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(process, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
