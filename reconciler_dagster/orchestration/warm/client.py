"""What a launcher calls: have a run executed by a warm process."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler_dagster.orchestration.warm.protocol import (
    GO,
    LOG,
    STALE,
    UNREADABLE,
    Request,
    fingerprint,
    place,
    read_line,
)

if TYPE_CHECKING:
    import psutil

# Imports take three seconds, on a machine that is busy many times that.
START_WITHIN_SECONDS = 60.0
ANSWER_WITHIN_SECONDS = 30.0
_ATTEMPTS = 3
# Files that are being exchanged or are not this user's, a program that does not start in time.
CANNOT = (*UNREADABLE, subprocess.SubprocessError)
_PARENT = "reconciler_dagster.orchestration.warm.parent"


class NoWarmProcess(Exception):
    """No warm process can be had; nothing was started. The message says why."""


def launch(home: Path, run_id: str, instance: str, note: Callable[[str], None]) -> None:
    """Have a run executed. ``note``: called with the process that will, just before it does.

    Raises NoWarmProcess where it was not started, and never will be.
    """
    try:
        request = Request(fingerprint(), run_id, instance, dict(os.environ), os.getcwd())
        folder = place(home)
        for _ in range(_ATTEMPTS):
            connection = connect(folder) or _start_and_connect(folder, request.fingerprint)
            with connection:
                if hand_over(connection, request, note):
                    return
    except CANNOT as error:
        raise NoWarmProcess(str(error)) from error
    raise NoWarmProcess("the warm parent ended again and again before it had started the run")


def ensure(home: Path) -> None:
    """Have a warm parent ready for the next run. Raises NoWarmProcess."""
    try:
        folder = place(home)
        connection = connect(folder) or _start_and_connect(folder, fingerprint())
        connection.close()
    except CANNOT as error:
        raise NoWarmProcess(str(error)) from error


def stop(
    home: Path, seconds: float, meant: Callable[[psutil.Process], bool] = lambda _: True
) -> None:
    """End the warm parent of this home and its runs, if there is one and it is ``meant``, and wait
    for that.
    """
    try:
        pid = parent_of(home)
    except OSError:
        return
    if pid is None:
        return
    import psutil  # here: who asks for a run needs none of it

    try:
        process = psutil.Process(pid)
        if not meant(process):
            return
        process.terminate()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
    except psutil.Error:  # it has gone, or was another user's number by then
        pass


def parent_of(home: Path) -> int | None:
    """The warm parent's process number; None where there is none."""
    connection = connect(place(home))
    if connection is None:
        return None
    with connection:
        return _peer(connection)[0]


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user that listen at the other end."""
    if sys.platform == "darwin":
        number = connection.getsockopt(0, 2, 4)  # LOCAL_PEERPID
        user = connection.getsockopt(0, 1, 76)[4:8]  # LOCAL_PEERCRED, after its version
    else:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        number, user = credentials[:4], credentials[4:8]
    return int.from_bytes(number, sys.byteorder), int.from_bytes(user, sys.byteorder)


def hand_over(
    connection: socket.socket,
    request: Request,
    note: Callable[[str], None],
    files: Sequence[int] = (),
) -> bool:
    """Whether it is on its way; not where the parent was of other code, or died. ``note``: as of
    ``launch``; ``files``: descriptors to bring along. Raises OSError, where it never will be.
    """
    try:
        connection.settimeout(ANSWER_WITHIN_SECONDS)
        line = request.as_line()
        sent = socket.send_fds(connection, [line], files) if files else 0
        connection.sendall(line[sent:])
        process = read_line(connection).decode().strip()
        if process in ("", STALE):
            return False
        note(process)
        connection.sendall(GO)
    except (BrokenPipeError, ConnectionResetError):
        return False  # it has not read the word, and so does nothing
    return True


def connect(folder: Path) -> socket.socket | None:
    """A connection to the warm parent of a folder; None where none listens. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "socket"))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    if _peer(connection)[1] != os.getuid():  # it would be sent every secret of this process
        connection.close()
        raise PermissionError(f"another user listens at {folder / 'socket'}: remove {folder}")
    return connection


def _start_and_connect(folder: Path, code: str) -> socket.socket:
    """Start a parent, unless another launcher just did."""
    with _alone(folder):
        connection = connect(folder)
        if connection is None:
            _start(folder)
            connection = connect(folder)
    if connection is None:
        raise NoWarmProcess("the warm parent ended as soon as it was there")
    return connection


def _start(folder: Path) -> None:
    ready, theirs = os.pipe()
    log = folder / LOG
    try:
        # Threads that a library of numbers starts for itself would not survive a fork.
        alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", _PARENT, str(folder), str(theirs)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | alone,
                pass_fds=[theirs],
            )
        os.close(theirs)
        theirs = -1
        process.wait(START_WITHIN_SECONDS)  # it detaches at once
        poll = select.poll()  # unlike select(), for descriptors above 1,023 too
        poll.register(ready, select.POLLIN)
        if not poll.poll(START_WITHIN_SECONDS * 1000):
            raise NoWarmProcess(f"the warm parent was not ready in {START_WITHIN_SECONDS:.0f} s")
        if not os.read(ready, 100):
            raise NoWarmProcess(f"the warm parent could not start: see {log}")
    finally:
        os.close(ready)
        if theirs >= 0:
            os.close(theirs)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One launcher at a time starts a parent; the others wait for it."""
    deadline = time.monotonic() + START_WITHIN_SECONDS
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NoWarmProcess("another launcher is still starting one") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
