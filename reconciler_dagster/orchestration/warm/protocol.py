"""What a launcher and the warm parent say to each other, and where.

One connection a run, over a Unix socket that only the user may open. The launcher sends a
`Request` as a line of JSON. Who answers is the process that the parent has forked: a line with its
`process`, and it executes the run only once it has read `GO`. So a launcher that did not get as
far as to send `GO` may start the run otherwise: nothing is ever started twice.

A command of the command line goes the same way. Its request brings stdin, stdout and stderr along,
and the connection stays open: its exit code comes as one more line, and if the caller goes, the
command is interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from stat import S_ISDIR

import reconciler_dagster

GO = b"go\n"
# The parent's answer to a Request with another fingerprint: it is going, start a new one.
STALE = "stale"
# What a command is called with (click's ``obj``) that is in a warm process already.
WARM = "warm"
# In the folder: what the parent and its runs print.
LOG = "log"
_LONGEST_SOCKET = 100
# What `fingerprint` raises.
UNREADABLE = (OSError, PackageNotFoundError)


@dataclass(frozen=True)
class Request:
    """A run to execute, or a command. ``instance``: `internals.reference`. ``environment``,
    ``folder``: of the launcher's process; the run gets them whole, so a changed setting needs no
    new parent. ``command``: its arguments; run and instance are empty then.
    """

    fingerprint: str
    run_id: str
    instance: str
    environment: dict[str, str]
    folder: str
    command: list[str] | None = None

    def as_line(self) -> bytes:
        """For the socket."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Request:
        """From the socket."""
        return cls(**json.loads(line))


def place(home: Path) -> Path:
    """The folder of the warm parent of a Dagster home on this host, made where it is missing.

    Raises OSError where it cannot be made, or would not be this user's alone.
    """
    folder = home / f"warm-{platform.node() or 'host'}"
    if len(os.fsencode(folder / "socket.12345678")) > _LONGEST_SOCKET:
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"reconciler-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    there = folder.lstat()  # not where a link leads that somebody else may have laid
    if not S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder private to this user: remove it")
    return folder


def fingerprint() -> str:
    """Which code this is. A parent that has another one loaded must not start runs.

    Every source file of the package by name, size and time of its last change: a code location
    that was reloaded in the UI has read what lies there now, and so must its runs.

    Raises one of `UNREADABLE` while the files are being exchanged, or where nothing is installed.
    """
    package = Path(reconciler_dagster.__file__).parent
    told = [str(package), platform.python_version(), version("dagster"), version("reconciler")]
    for folder, _, names in sorted(os.walk(package)):
        for name in sorted(names):
            if name.endswith(".py"):
                status = os.stat(os.path.join(folder, name))
                told.append(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def read_line(connection: socket.socket, line: bytes = b"") -> bytes:
    """One line, of which this much is known; what came of it where the other side has closed.
    Raises OSError.
    """
    while not line.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk:
            break
        line += chunk
    return line
