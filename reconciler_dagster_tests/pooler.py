"""A PgBouncer in transaction mode before a test's Postgres, and others who keep its pool busy."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reconciler_dagster.sandbox.account import Account
from reconciler_dagster.sandbox.postgres import PostgresServer

# Server connections for each database: fewer than one run and its neighbours want at a time.
POOL = 4
PORT = 6432
# Debian puts it where only an administrator's path leads.
PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin")

CONFIGURATION = """
[databases]
* = host={server}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
admin_users = postgres
pool_mode = {mode}
default_pool_size = {pool}
max_client_conn = 1000
logfile = {folder}/log
"""
USERS = ("postgres", "reconciler_engine", "cannot_renew", "odd_role")


class Pooler:
    """PgBouncer with its defaults, but for the mode, and for how many server connections a
    database gets.
    """

    def __init__(self, server: PostgresServer, mode: str = "transaction", size: int = POOL) -> None:
        self._server, self._mode, self._size = server, mode, size

    def __enter__(self) -> Pooler:
        if PROGRAM is None:
            pytest.skip("PgBouncer is not installed")
        self._folder = Path(tempfile.mkdtemp(prefix="reconciler-pooler-"))
        account = Account(self._folder)
        sockets = conninfo_to_dict(self._server.url("postgres"))["host"]
        (self._folder / "ini").write_text(
            CONFIGURATION.format(
                server=sockets, port=PORT, folder=self._folder, mode=self._mode, pool=self._size
            )
        )
        (self._folder / "users").write_text("".join(f'"{name}" ""\n' for name in USERS))
        for path in (self._folder, *self._folder.iterdir()):
            account.own(path)
        self._account = account
        self.start()
        return self

    def start(self) -> None:
        """Returns when it lets somebody through."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "-q", str(self._folder / "ini")],
            stderr=subprocess.DEVNULL,
            **self._account.identity,
        )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("portal")).close()
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def url(self, database: str) -> str:
        """A database, through the pooler."""
        return self.through(self._server.url(database))

    def through(self, url: str) -> str:
        """A URL of the server itself, through the pooler."""
        parts = conninfo_to_dict(url)
        database = quote(str(parts["dbname"]))
        return f"postgresql://{parts['user']}@/{database}?host={self._folder}&port={PORT}"


@contextlib.contextmanager
def crowded(url: str, others: int = 3) -> Iterator[None]:
    """Others use the database through the same pooler all the time, so that hardly two
    transactions of one client get the same server connection.
    """
    over = threading.Event()

    def use() -> None:
        with psycopg.connect(
            make_conninfo(url, application_name="somebody else"), prepare_threshold=None
        ) as connection:
            while not over.is_set():
                with contextlib.suppress(psycopg.OperationalError), connection.transaction():
                    connection.execute("SELECT pg_sleep(0.005)")

    crowd = [threading.Thread(target=use, daemon=True) for _ in range(others)]
    for one in crowd:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in crowd:
            one.join()
