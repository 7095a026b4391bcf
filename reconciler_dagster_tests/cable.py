"""What lies between a process and its Postgres, and can be cut: then nothing gets through, in
either direction, and neither end notices, as when a host loses its network.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_SOCKET = ".s.PGSQL.5432"


class Cable:
    """``url``: the database, through the cable. ``cutter``: see ``CutAt``."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._server = str(Path(str(parts["host"]), _SOCKET))
        self._folder = Path(tempfile.mkdtemp(prefix="reconciler-cable-"))
        place = f"{parts['dbname']}?host={quote(str(self._folder))}"
        self.url = f"postgresql://{parts['user']}@/{place}"
        self.cutter = str(self._folder / "cutter")
        self.was_cut, self._whole = threading.Event(), threading.Event()
        self._whole.set()
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Cable:
        self._listeners = [
            self._listen(str(self._folder / _SOCKET), self._join),
            self._listen(self.cutter, self._cut),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.mend(late=False)
        shutil.rmtree(self._folder)

    def mend(self, *, late: bool) -> None:
        """Let everything through again. ``late``: what was sent meanwhile arrives; else both ends
        are told that the connection is gone.
        """
        ends = [] if late else self._ends
        for end in ends:
            with contextlib.suppress(OSError):  # closed already
                end.shutdown(socket.SHUT_RDWR)
        self._whole.set()

    def _listen(self, path: str, greet: Callable[[socket.socket], None]) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        threading.Thread(target=self._accept, args=(listener, greet), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket, greet: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):  # over
            while True:
                greet(listener.accept()[0])

    def _cut(self, asking: socket.socket) -> None:
        self._whole.clear()
        self.was_cut.set()
        asking.sendall(b".")
        asking.close()

    def _join(self, here: socket.socket) -> None:
        there = socket.socket(socket.AF_UNIX)
        there.connect(self._server)
        self._ends += [here, there]
        for one, other in ((here, there), (there, here)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._whole.wait()
                other.sendall(data)
        self._whole.wait()  # that an end has closed gets through no sooner
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


class CutAt:
    """A hook for ``effects``: cuts this process off the n-th time that it is called."""

    def __init__(self, number: int, cutter: str) -> None:
        self._left, self._cutter, self._lock = number, cutter, threading.Lock()

    def __call__(self, moment: str, name: str) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                with socket.socket(socket.AF_UNIX) as asking:
                    asking.connect(self._cutter)
                    asking.recv(1)
