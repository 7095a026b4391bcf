"""One process that `reconciler up` starts, with whatever it starts in turn."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

# In the environment of every child and, by inheritance, of every grandchild.
MARK = "RECONCILER_STARTED_BY_UP_IN"
_TAIL = 25


class Child:
    """A child in a process group of its own, its output in a log file.

    The group keeps a Ctrl-C in the terminal away from it: it is stopped in its turn.
    """

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path
    ) -> None:
        self.name = name
        self.log = log
        self.started = time.monotonic()
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def tail(self) -> str:
        """The end of its log."""
        return tail(self.log)

    def ask_to_stop(self) -> None:
        """Send the whole group a SIGTERM."""
        self._signal(signal.SIGTERM)

    def wait_until_gone(self, seconds: float, hurry: Callable[[], bool]) -> None:
        """Wait for the whole group to end; kill what has not when the time is up."""
        deadline = time.monotonic() + seconds
        while self._group_lives() and time.monotonic() < deadline and not hurry():
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _group_lives(self) -> bool:
        self._process.poll()
        return self._signal(0)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


def tail(log: Path) -> str:
    """The last lines of a log file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
    except FileNotFoundError:
        return ""


def kill_marked(state: Path) -> list[str]:
    """Kill what an `up` on this state folder started and did not take down; returns the names."""
    found = list(_marked(state))
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=5)
    return sorted({process.info["name"] for process in found})


def _marked(state: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["name"]):
        if is_marked(process, state) and process.pid != os.getpid():
            yield process


def is_marked(process: psutil.Process, state: Path) -> bool:
    """Whether the `up` on this state folder has started a process, or one that did."""
    try:
        return process.environ().get(MARK) == str(state)
    except (psutil.Error, OSError):
        return False
