"""Each role starts as it does in its container and says that it is well: a plain process, all of
the file system read-only but for its state folder and /tmp.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("dagster_celery")

from reconciler_dagster.deploying.roles import ROLES
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.supervisor.ready import free_port
from reconciler_dagster_tests import redis
from reconciler_dagster_tests.deployment import PROGRAM, eventually

pytestmark = redis.needed
# In a mount namespace of its own. /tmp is apart, as the images' tmpfs is.
_READ_ONLY = (
    'mount --make-rprivate / && mount --bind /tmp /tmp && mount --bind "$1" "$1" '
    '&& mount -o remount,bind,ro / && shift && exec "$@"'
)
_TRIED = 'test ! -w /usr && ! touch "$0/written" 2>/dev/null'


def locked_in(state: Path, *command: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", str(state), *command]


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """What a deployment is told, with real parts behind it."""
    with ExitStack() as held:
        name = held.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-roles-"))
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("state", "redis"):
            (folder / part).mkdir()
        tried = locked_in(folder / "state", "sh", "-c", _TRIED, os.getcwd())
        if not shutil.which("unshare") or subprocess.run(tried, check=False).returncode:
            pytest.skip("no mount namespaces can be had here")
        postgres = PostgresServer(folder / "postgres", durable=False)
        postgres.start()
        held.callback(postgres.stop)
        broker = redis.Redis(folder / "redis")
        held.callback(broker.kill)
        portal = postgres.create_database("portal")
        own = engine(portal)
        upgrade(own)
        own.dispose()
        yield {
            **os.environ,
            "AIRTABLE_API_KEY": "patOfNobody000000",
            "DAGSTER_POSTGRES_URL": postgres.create_database("dagster"),
            "DATABASE_URL": portal,
            "PORTAL_JWT_SECRET": "0123456789" * 4,
            "PYTHONDONTWRITEBYTECODE": "1",
            "RECONCILER_CODE_SERVER": f"127.0.0.1:{free_port(24000, set())}",
            "RECONCILER_ENVIRONMENT": "production",
            "RECONCILER_REDIS_URL": broker.url,
            "RECONCILER_RUN_LAUNCHER": "celery",
            "RECONCILER_STATE_DIR": str(folder / "state"),
        }


def test_every_role_starts_and_is_well_on_a_read_only_file_system(
    settings: dict[str, str],
) -> None:
    state = Path(settings["RECONCILER_STATE_DIR"])
    taken: set[int] = set()
    code_port = int(settings["RECONCILER_CODE_SERVER"].partition(":")[2])
    ports = {"code": code_port}
    ports |= {r: free_port(25000, taken) for r in ("webserver", "portal")}
    running: dict[str, subprocess.Popen[bytes]] = {}

    def options(role: str) -> list[str]:
        return ["--port", str(ports[role])] if role in ports else []

    def is_well(role: str) -> bool:
        assert running[role].poll() is None, (state.parent / f"{role}.log").read_text()
        command = [PROGRAM, "serve", role, "--check", *options(role)]
        done = subprocess.run(
            locked_in(state, *command), env=settings, check=False, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode == 0

    try:
        for role in ROLES:
            command = [PROGRAM, "serve", role, *options(role)]
            with (state.parent / f"{role}.log").open("wb") as log:
                running[role] = subprocess.Popen(
                    locked_in(state, *command),
                    env=settings,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        for role in ROLES:
            eventually(lambda role=role: is_well(role))  # type: ignore[misc]
        # Nothing was written but into the state folder; and that holds the settings of Celery.
        assert "WatchedCeleryRunLauncher" in (state / "dagster" / "dagster.yaml").read_text()
        # A role that is gone is not well, and says so in a line.
        os.killpg(running["portal"].pid, signal.SIGKILL)
        running["portal"].wait()
        done = subprocess.run(
            [PROGRAM, "serve", "portal", "--check", *options("portal")],
            env=settings,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Error: portal: ")
        # Told to stop, each ends by itself.
        del running["portal"]
        for process in running.values():
            os.killpg(process.pid, signal.SIGTERM)
        for role, process in running.items():
            assert process.wait() is not None, role
    finally:
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.parametrize("role", ROLES)
def test_what_does_not_run_is_not_well(role: str, portal_db: str) -> None:
    """In one line, whatever is missing."""
    done = subprocess.run(
        [PROGRAM, "serve", role, "--check", "--port", "9"],
        env={
            **os.environ,
            "DATABASE_URL": portal_db,
            "RECONCILER_REDIS_URL": "redis://127.0.0.1:9/0",
            "DAGSTER_POSTGRES_URL": portal_db,
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {role}: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert sys.executable not in done.stderr
