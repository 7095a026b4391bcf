"""The warm parent: everything imported, nothing opened, one thread, one forked process a run.

    python -m reconciler_dagster.orchestration.warm.parent FOLDER READY

FOLDER: where its socket is to be. READY: a descriptor; a line is written to it once it listens.
It has no connection to anything, so a run inherits none. It is started by whoever launches a run
and finds none (`client`), and goes when it is asked to, when another one has taken its place, when
its folder is gone, or when nobody has wanted anything of it for long.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from reconciler_dagster.orchestration import internals
from reconciler_dagster.orchestration.warm.protocol import (
    LOG,
    STALE,
    Request,
    fingerprint,
    read_line,
)
from reconciler_dagster.telling import told

IDLE_SECONDS = 3600.0
# How long a run has to end by itself once the parent is told to stop.
GRACE_SECONDS = 10.0
LOG_BYTES = 1_000_000
_LOOK_SECONDS = 1.0
# The drivers and dialects are loaded by name, when the first connection is made.
PRELOADED = (
    "reconciler_dagster.core.merge",
    "reconciler_dagster.definitions",
    "reconciler_dagster.orchestration.warm.child",
    "reconciler_dagster.cli.run",
    "reconciler_dagster.cli.status",
    # What the two import only once they are called.
    "reconciler_dagster.orchestration.execute",
    "reconciler_dagster.orchestration.instance",
    "reconciler_dagster.orchestration.storage",
    "reconciler_dagster.postgres.report",
    # With what Dagster imports where it opens an instance, and begins a run.
    *internals.IMPORTED_LATE,
    "dagster_postgres",
    "pandas",
    "pyairtable",
    "psycopg",
    "psycopg2",
    "psycopg2.extras",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite",
)
# A launcher that has connected sends at once.
_REQUEST_WITHIN_SECONDS = 5.0
_PAUSE_SECONDS = 0.1

log = logging.getLogger("reconciler_dagster.warm")


@dataclass
class Parent:
    """The process's state: where it listens, and which runs it has forked."""

    socket_path: Path
    listener: socket.socket
    inode: int
    code: str
    runs: dict[int, Request | None] = field(default_factory=dict)
    stopping: bool = False

    def serve(self) -> None:
        """Fork for whoever asks, until there is a reason to go; then wait for the runs' end."""
        wake = _signals_as_bytes(self._stop)
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            last = time.monotonic()
            while not self.stopping and self._is_wanted():
                ready = selector.select(_LOOK_SECONDS)
                for key, _ in ready:
                    if key.fileobj is wake:
                        wake.recv(4096)
                    else:
                        self._answer_next()
                        last = time.monotonic()
                self._reap()
                if self.runs:
                    last = time.monotonic()
                if time.monotonic() - last > IDLE_SECONDS:
                    break
        self.listener.close()
        if self._is_wanted():
            self.socket_path.unlink(missing_ok=True)
        self._wait_for_runs()

    def _stop(self) -> None:
        self.stopping = True
        self._signal_runs(signal.SIGTERM)

    def _is_wanted(self) -> bool:
        """Whether the socket in the folder is still this process's."""
        try:
            return self.socket_path.stat().st_ino == self.inode
        except OSError:
            return False

    def _answer_next(self) -> None:
        """Whatever fails, be it that the launcher has gone or that there is no room for another
        process, costs this launcher its warm run, and nobody else.
        """
        try:
            self._answer(self.listener.accept()[0])
        except OSError as error:
            log.warning("a launcher got no answer: %s", told(error))
            time.sleep(_PAUSE_SECONDS)  # what is short now may be so for long

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.ExitStack() as taken:
            try:
                connection.settimeout(_REQUEST_WITHIN_SECONDS)
                line, files, _, _ = socket.recv_fds(connection, 65536, 3)
                for file in files:
                    taken.callback(os.close, file)
                request = Request.of_line(read_line(connection, line))
                connection.settimeout(None)
            except (OSError, ValueError, TypeError):
                return  # whoever it was has gone, and has started nothing
            if request.fingerprint != self.code:
                self.socket_path.unlink(missing_ok=True)
                connection.sendall(f"{STALE}\n".encode())
                return
            from reconciler_dagster.orchestration.warm import child

            _begin_new_log(self.socket_path.with_name(LOG))
            kept = [connection.fileno(), *files]
            if request.command is None:
                pid = self._fork(lambda: child.execute(request, connection), kept)
                self.runs[pid] = request
            else:  # who asked sees for himself how it ends
                pid = self._fork(lambda: child.execute_command(request, connection, files), kept)
                self.runs[pid] = None

    def _reap(self) -> None:
        """Take leave of what has ended, and have it reported where a run did not end by itself."""
        while self.runs:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            request = self.runs.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if request is not None and code != 0:
                self._report(request, pid, _how_it_ended(pid, code))

    def _report(self, request: Request, pid: int, why: str) -> None:
        from reconciler_dagster.orchestration.warm import child

        with contextlib.suppress(OSError):  # no room for a process: run monitoring finds it
            self.runs[self._fork(lambda: child.report(request, pid, why))] = None

    def _fork(self, work: Callable[[], int], keep: Collection[int] = ()) -> int:
        from reconciler_dagster.orchestration.warm import child

        pid = os.fork()
        if pid == 0:
            child.become(work, keep)
        return pid

    def _wait_for_runs(self) -> None:
        """To the end where another parent has taken over; for a while where everything ends."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self.runs:
            self._reap()
            if self.stopping and time.monotonic() > deadline:
                self._signal_runs(signal.SIGKILL)
            time.sleep(0.1)

    def _signal_runs(self, number: int) -> None:
        for pid in self.runs:
            for send in (os.kill, os.killpg):  # it may not have its group yet
                with contextlib.suppress(ProcessLookupError):
                    send(pid, number)


def _begin_new_log(log: Path) -> None:
    """Keep what the runs print from growing for ever: this file, and the one before."""
    if os.fstat(1).st_size < LOG_BYTES:
        return
    log.replace(log.with_suffix(".previous"))
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _how_it_ended(pid: int, code: int) -> str:
    if code < 0:
        return (
            f"The process of the run (pid: {pid}) was ended by signal {-code} "
            f"({signal.Signals(-code).name})."
        )
    return (
        f"The process of the run (pid: {pid}) ended with exit code {code} before the run had come "
        "to its end. Its output is in the log of the warm parent."
    )


def _signals_as_bytes(stop: Callable[[], None]) -> socket.socket:
    """The end of a socket that can be read whenever a signal has come."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    signal.set_wakeup_fd(there.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return here


def preload() -> None:
    """Import what a run imports, and open nothing."""
    for name in PRELOADED:
        importlib.import_module(name)
    # Builds what is built on first use: the repository, and the jobs in it.
    from reconciler_dagster.definitions import defs

    defs.get_repository_def().load_all_definitions()


def listen(path: Path) -> socket.socket:
    """A socket at this path, open to this user alone; it takes the place of an earlier one."""
    listener = socket.socket(socket.AF_UNIX)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listener.bind(str(fresh))
    fresh.chmod(0o600)
    listener.listen(64)
    fresh.replace(path)
    return listener


def main() -> None:
    """Detach from the launcher, import, listen, serve."""
    folder, ready = Path(sys.argv[1]), int(sys.argv[2])
    if os.fork():
        os._exit(0)  # the launcher is not to have a child that it must wait for
    os.setsid()
    code = fingerprint()
    preload()
    gc.collect()
    gc.freeze()  # a collection in a run would write to, and so copy, what it shares with the others
    path = folder / "socket"
    listener = listen(path)
    parent = Parent(path, listener, path.stat().st_ino, code)
    os.write(ready, b"ready\n")
    os.close(ready)
    parent.serve()


if __name__ == "__main__":
    main()
