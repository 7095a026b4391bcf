"""The embedded Postgres as a process: restarts, crashes, leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from reconciler_dagster.sandbox.account import EmbeddedPostgresError
from reconciler_dagster.sandbox.postgres import PostgresServer, embedded_postgres
from reconciler_dagster_tests.processes import has_ended

HOLD = """
import signal, sys, time
from pathlib import Path
from reconciler_dagster.sandbox.postgres import PostgresServer
# A shell without job control has its background jobs ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
server = PostgresServer(Path(sys.argv[1]), durable=False)
try:
    server.start()
    print(server.process.pid, flush=True)
    time.sleep(600)
finally:
    server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reconciler-postgres-") as path:
        yield Path(path) / "postgres"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def put(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def kept(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def running(pid: int) -> bool:
    try:
        return not has_ended(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_data_survives_a_restart(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        put(url)
        with psycopg.connect(url) as connection:
            version = connection.info.server_version
            limit = connection.execute("SHOW max_connections").fetchone()
        assert version // 10000 == 18
        assert limit == ("200",)
    with embedded_postgres(folder) as again:
        assert again == url
        assert kept(again) == 42
    assert not (folder / "data" / "postmaster.pid").exists(), "stopped without a clean shutdown"


def test_it_stops_with_clients_connected_and_leaves_no_process(folder: Path) -> None:
    server = PostgresServer(folder, durable=False)
    server.start()
    pid = server.process.pid
    with psycopg.connect(server.url("dagster")):
        server.stop()
    assert not running(pid)
    server.stop()  # again is harmless


@pytest.mark.parametrize("alive", ["a process of ours", "nobody"])
def test_a_stale_pid_file(folder: Path, alive: str) -> None:
    """After a power cut the number may belong to anybody."""
    with embedded_postgres(folder, durable=False) as url:
        put(url)
    with subprocess.Popen(["sleep", "600"]) as other:
        if alive == "nobody":
            other.kill()
            other.wait()
        (folder / "data" / "postmaster.pid").write_text(f"{other.pid}\n{folder}/data\n1\n5432\n")
        with embedded_postgres(folder, durable=False) as url:
            assert kept(url) == 42
        if alive != "nobody":
            assert other.poll() is None, "somebody else's process was stopped"
            other.kill()


def test_a_killed_server_recovers(folder: Path) -> None:
    server = PostgresServer(folder)  # durable, as in use: a kill loses no commit
    server.start()
    put(server.url("portal"))
    server.process.kill()
    server.process.wait()
    server.stop()
    with embedded_postgres(folder) as url:
        assert kept(url) == 42


def test_the_orphan_of_a_killed_owner_is_replaced(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        owner.kill()
    assert running(orphan)
    with embedded_postgres(folder, durable=False) as url:
        assert not running(orphan)
        put(url)
        assert kept(url) == 42


def test_a_ctrl_c_stops_it_with_its_owner(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline())
        os.killpg(owner.pid, signal.SIGINT)  # as a terminal does
    eventually(lambda: not running(server))
    log = (folder / "postgres.log").read_text()
    assert "database system is shut down" in log


def test_a_folder_serves_one_owner(folder: Path) -> None:
    with (
        embedded_postgres(folder, durable=False),
        pytest.raises(EmbeddedPostgresError, match="in use by another process"),
        embedded_postgres(folder, durable=False),
    ):
        raise AssertionError("two servers on one folder")


def test_a_path_too_long_for_a_socket(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("y" * 60)
    with embedded_postgres(deep, durable=False) as url:
        put(url)
        assert kept(url) == 42


def test_data_of_another_version_is_refused_by_name(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("15\n")
    with (
        pytest.raises(EmbeddedPostgresError, match="holds data of PostgreSQL 15, expected 18"),
        embedded_postgres(folder, durable=False),
    ):
        raise AssertionError("started on foreign data")


def test_an_initdb_that_was_cut_short_is_begun_anew(folder: Path) -> None:
    (folder / "data.new" / "base").mkdir(parents=True)
    with embedded_postgres(folder, durable=False) as url:
        put(url)


def test_only_its_owner_may_connect(folder: Path) -> None:
    with embedded_postgres(folder, durable=False) as url:
        socket_folder = Path(url.split("host=")[1])
        assert socket_folder.stat().st_mode & 0o077 == 0
