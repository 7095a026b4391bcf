"""What identifies a process, whether it has certainly ended, and how it begins."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEAD = {"Z", "X", "x"}
# When a process began that we may not see.
_HIDDEN = "hidden"


def this_process() -> str:
    """The identity of this process: host, place, number and start, in one line.

    The host is for people. The *place* tells whose numbers these are: two machines, two boots and
    two containers may bear the same host name.
    """
    pid = os.getpid()
    return f"{socket.gethostname()} {_place()} {pid} {_started(pid)}"


def has_ended(identity: str) -> bool:
    """Whether a process is dead for certain: it ran where this one runs, and is not there now.

    Of another place, or of a line that cannot be read, nothing is certain.
    """
    try:
        _, place, pid, started = identity.rsplit(" ", 3)
        return place == _place() and _started(int(pid)) not in (started, _HIDDEN)
    except ValueError:
        return False


def may_live(identity: str) -> bool:
    """Whether a process is not certain to be dead."""
    return not has_ended(identity)


def is_here(identity: str) -> bool:
    """Whether a process runs, or ran, where this one does."""
    return identity.rsplit(" ", 3)[1] == _place()


def number_of(identity: str) -> int:
    """The number of a process, where it runs."""
    return int(identity.rsplit(" ", 3)[2])


def lives(number: int, before: float) -> bool:
    """Whether a process of this number is there and is no younger than a moment (seconds since
    1970): numbers are used again.
    """
    import psutil  # here: what only tells its own identity does without

    try:
        process = psutil.Process(number)
        return process.create_time() <= before + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def _is_hidden(pid: int) -> bool:
    """Whether it is there though `/proc` does not show it: another user's, mounted with hidepid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _started(pid: int) -> str:
    """When a process began; empty where there is none, or only its entry is left, ``_HIDDEN`` where
    it is another user's and not shown.

    On Linux in ticks since the boot, which no change of the clock moves.
    """
    try:
        # The name of the program, in brackets, may hold anything.
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in _DEAD else rest[18]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return _HIDDEN if _is_hidden(pid) else ""
    except (OSError, ValueError, IndexError):
        return ""
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return "" if dead else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


@contextmanager
def importing() -> Iterator[None]:
    """Python looks for no garbage meanwhile, and never again among what was made: imports make a
    few hundred thousand objects, all of which stay.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
