"""The lease of a client: held by one process at a time, whatever becomes of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import ClientBusy, LeaseLost, client_lock, require_lease
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer

CLIENT = str(uuid4())
HOLDER = """
import sys, time
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.lock import *
url, client, run, seconds = sys.argv[1:]
own = engine(url)
with client_lock(own, client, run, 0, seconds=float(seconds)):
    print("held", flush=True)
    {then}
"""


@pytest.fixture
def portal(portal_db: str) -> Engine:
    return engine(portal_db)


@contextmanager
def holder(
    url: str, run: str = "of another process", seconds: float = 600, then: str = "time.sleep(600)"
) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the client."""
    arguments = [sys.executable, "-c", HOLDER.format(then=then), url, CLIENT, run, str(seconds)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def run(own: Engine, statement: str) -> None:
    with own.begin() as connection:
        connection.execute(text(statement))


def fence(own: Engine) -> int:
    with own.connect() as connection:
        return int(connection.execute(text("SELECT fence FROM reconciler.lease")).scalar_one())


def required(own: Engine, run_id: str) -> None:
    with own.begin() as connection:
        require_lease(connection, CLIENT, run_id)


ELSEWHERE = "UPDATE reconciler.lease SET holder = 'elsewhere another-boot/pid:[1] 4711 815'"
EXPIRE = "UPDATE reconciler.lease SET expires_at = clock_timestamp() - interval '1 s'"


def test_a_dead_process_of_this_host_is_followed_at_once(portal: Engine, portal_db: str) -> None:
    with holder(portal_db) as process:
        with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "next", 0):
            pytest.fail("two hold the client")
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        with client_lock(portal, CLIENT, "next", 0):  # it need not even be waited for
            pass


def test_a_process_of_another_host_is_followed_when_its_lease_expires(
    portal: Engine, portal_db: str
) -> None:
    with holder(portal_db, seconds=2) as process:
        process.kill()
        process.wait()
        run(portal, ELSEWHERE)
        with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "early", 0):
            pytest.fail("it might still be at work")
        with client_lock(portal, CLIENT, "next", 600):
            pass


def test_a_clock_that_is_set_back_keeps_nobody_waiting(portal: Engine, portal_db: str) -> None:
    with holder(portal_db, seconds=1) as process:
        process.kill()
        process.wait()
        run(portal, ELSEWHERE)
        run(
            portal,
            "UPDATE reconciler.lease SET renewed_at = renewed_at + interval '1 day', "
            "expires_at = expires_at + interval '1 day'",
        )
        with client_lock(portal, CLIENT, "next", 600):
            pass


def test_it_is_renewed_for_as_long_as_it_is_held(portal: Engine) -> None:
    with client_lock(portal, CLIENT, "first", 0, seconds=2):
        with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "second", 8, seconds=2):
            pytest.fail("two hold the client")
        required(portal, "first")
    assert not [t for t in threading.enumerate() if CLIENT in t.name]


def test_connections_that_are_cut_cost_nobody_the_lease(portal: Engine, portal_db: str) -> None:
    with client_lock(portal, CLIENT, "first", 0, seconds=3):
        before = fence(portal)
        for _ in range(20):
            with psycopg.connect(portal_db) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                    "current_database() AND pid <> pg_backend_pid()"
                )
            time.sleep(0.2)
        portal.dispose()
        required(portal, "first")
        assert fence(portal) == before


def test_a_postgres_that_is_started_anew_costs_nobody_the_lease(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    server.start()
    try:
        own = engine(server.create_database("restarted"))
        upgrade(own)
        with client_lock(own, CLIENT, "first", 0, seconds=4):
            server.stop()
            time.sleep(2)  # a renewal falls into it
            server.start()
            time.sleep(3)
            own.dispose()
            required(own, "first")
        own.dispose()
        with client_lock(own, CLIENT, "second", 0):
            pass
        own.dispose()
    finally:
        server.stop()


def test_numbers_never_come_again_not_even_when_the_row_is_gone(portal: Engine) -> None:
    seen = []
    for number in range(3):
        with client_lock(portal, CLIENT, f"run {number}", 0):
            seen.append(fence(portal))
        seen.append(fence(portal))
        run(portal, "DELETE FROM reconciler.lease")
    assert seen == sorted(set(seen))


def test_who_was_overtaken_writes_nothing(portal: Engine) -> None:
    with client_lock(portal, CLIENT, "late", 0):
        run(portal, EXPIRE)
        with client_lock(portal, CLIENT, "next", 0):
            with pytest.raises(LeaseLost, match="run again"):
                required(portal, "late")
            required(portal, "next")
        with pytest.raises(LeaseLost):  # nor when the other one is done
            required(portal, "late")


def test_a_run_that_is_carried_on_elsewhere_has_the_same_id_and_another_number(
    portal: Engine, portal_db: str
) -> None:
    with client_lock(portal, CLIENT, "the run", 0):
        run(portal, EXPIRE)
        with holder(portal_db, run="the run"), pytest.raises(LeaseLost):
            required(portal, "the run")


def test_letting_go_late_takes_the_lease_from_nobody(portal: Engine) -> None:
    with client_lock(portal, CLIENT, "late", 0):
        run(portal, EXPIRE)
        following = client_lock(portal, CLIENT, "next", 0)
        following.__enter__()
    required(portal, "next")
    with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "third", 0):
        pytest.fail("two hold the client")
    following.__exit__(None, None, None)


def test_nobody_takes_over_while_a_checked_transaction_is_open(portal: Engine) -> None:
    with client_lock(portal, CLIENT, "late", 0):
        with portal.begin() as connection:
            require_lease(connection, CLIENT, "late")
            run(portal, EXPIRE)
            with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "next", 0):
                pytest.fail("what is written may still be committed")
        run(portal, EXPIRE)
        with client_lock(portal, CLIENT, "next", 0):
            pass


def test_renewals_wait_for_no_transaction(portal: Engine) -> None:
    """A chunk may take longer than a lease lasts."""
    with client_lock(portal, CLIENT, "first", 0, seconds=2), portal.begin() as connection:
        require_lease(connection, CLIENT, "first")
        for _ in range(8):
            time.sleep(0.5)
            connection.execute(text("SELECT 1"))
        left = connection.execute(
            text("SELECT expires_at > clock_timestamp() FROM reconciler.lease")
        ).scalar_one()
        assert left


def test_a_process_that_is_stopped_in_a_transaction_keeps_nobody_waiting(
    portal: Engine, portal_db: str
) -> None:
    then = "\n    ".join(
        [
            "from reconciler_dagster.postgres import connection as settings",
            "settings.BRIEFLY_IDLE = '1s'",
            "with own.connect() as connection, settings.writing(connection):",
            "    require_lease(connection, client, run)",
            "    print('checked', flush=True)",
            "    time.sleep(3)",
        ]
    )
    with holder(portal_db, seconds=1, then=then) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "checked\n"
        process.send_signal(signal.SIGSTOP)
        with client_lock(portal, CLIENT, "next", 600):
            process.send_signal(signal.SIGCONT)
            assert process.wait() != 0  # its transaction came to nothing
            required(portal, "next")


def test_who_cannot_renew_stops_before_the_lease_expires(portal: Engine, portal_db: str) -> None:
    """By its own clock, and though nobody else wants the client."""
    run(portal, "CREATE ROLE cannot_renew LOGIN")
    try:
        run(
            portal,
            "GRANT USAGE ON SCHEMA reconciler TO cannot_renew; "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler "
            "TO cannot_renew; GRANT USAGE ON ALL SEQUENCES IN SCHEMA reconciler TO cannot_renew",
        )
        url = portal_db.replace("://postgres@", "://cannot_renew@")
        own = engine(url)
        with client_lock(own, CLIENT, "first", 0, seconds=3):
            run(
                portal,
                "REVOKE UPDATE ON reconciler.lease FROM cannot_renew; "
                "GRANT UPDATE (run_id) ON reconciler.lease TO cannot_renew",
            )
            required(own, "first")
            time.sleep(3)
            with pytest.raises(LeaseLost, match="cannot be renewed"):
                required(own, "first")
        own.dispose()
    finally:
        run(portal, "DROP OWNED BY cannot_renew; DROP ROLE cannot_renew")


def test_a_forked_process_holds_nothing(portal: Engine, portal_db: str) -> None:
    """It must neither write under its parent's lease nor let it go."""
    then = "\n    ".join(
        [
            "import os",
            "child = os.fork()",
            "if child == 0:",
            "    try: require_time(client, run)",
            "    except LeaseLost: print('nothing', flush=True)",
            "else:",
            "    os.waitpid(child, 0)",
            "    print('over', flush=True)",
            "    time.sleep(600)",
        ]
    )
    with holder(portal_db, then=then) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["nothing\n", "over\n"]
        with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "next", 0):
            pytest.fail("two hold the client")


def test_who_died_while_waiting_is_not_waited_for(portal: Engine) -> None:
    with client_lock(portal, CLIENT, "first", 0):
        with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "gives up", 0):
            pytest.fail("two hold the client")
        run(
            portal,
            "INSERT INTO reconciler.lease_wait SELECT client_id, 'died', "
            "clock_timestamp() + interval '2 s' FROM reconciler.lease",
        )
    with pytest.raises(ClientBusy), client_lock(portal, CLIENT, "part", 0, yielding=True):
        pytest.fail("somebody else goes first")
    with client_lock(portal, CLIENT, "part", 600, yielding=True):
        pass
    with (
        client_lock(portal, CLIENT, "first", 0),
        pytest.raises(ClientBusy),
        client_lock(portal, CLIENT, "second", 0),
    ):
        pytest.fail("two hold the client")
    with portal.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM reconciler.lease_wait")).scalar() == 0
