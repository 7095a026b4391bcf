"""What every test may use: a real Postgres, and a fresh migrated portal database in it.

Under pytest-xdist each worker has a server and a state folder of its own.
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.worlds import SERVERS

# A time limit never decides a test.
settings.register_profile("steady", deadline=None, print_blob=True)
settings.load_profile("steady")

_NUMBERS = itertools.count(1)
_SERVER = SERVERS[os.environ.get("RECONCILER_TEST_DATABASE", "")]

_MEMORY = Path("/dev/shm")
_ROOM = 6 << 30
_OURS = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Every temporary file of the tests, and of the processes they start, is in memory where there
    is room: most of the time of a test's own database is the disk's. A TMPDIR that is set stands.
    """
    if "TMPDIR" in os.environ or not _has_room(_MEMORY):
        return
    folder = Path(tempfile.mkdtemp(prefix="reconciler-", dir=_MEMORY))
    folder.chmod(0o1777)  # as /tmp: under root, Postgres runs as another user
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    config.stash[_OURS] = folder


def _has_room(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    at = os.statvfs(folder)
    free = min(at.f_bavail * at.f_frsize, psutil.virtual_memory().available)
    return free >= _ROOM and not at.f_flag & os.ST_NOEXEC


def pytest_unconfigure(config: pytest.Config) -> None:
    """Memory is given back. Xdist's workers have TMPDIR from the process that made it."""
    if _OURS in config.stash:
        shutil.rmtree(config.stash[_OURS], ignore_errors=True)


def pytest_collection_finish() -> None:
    """What has been imported by now is no garbage: it is not looked through any more."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.fixture(autouse=True, scope="session")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of the tests' own; no setting of this machine reaches them."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name, field in Settings.model_fields.items():
            patch.delenv((field.alias or name).upper(), raising=False)
        for name in list(os.environ):
            if name.startswith(("PORTAL_", "DAGSTER_", "RECONCILER_")):
                patch.delenv(name)
        patch.setenv("RECONCILER_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def environment_of_its_own() -> Iterator[None]:
    """What a command sets for its own process, such as DAGSTER_HOME, reaches no other test."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's Postgres. Not under pytest's own folder: every pytest that starts makes that
    private to its user again, and the server runs as another one.
    """
    with tempfile.TemporaryDirectory(prefix="reconciler-postgres-") as folder:
        server = _SERVER(Path(folder), durable=False)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    own = engine(postgres_server.create_database("migrated"))
    upgrade(own)
    own.dispose()  # a template must have nobody connected
    return "migrated"


@pytest.fixture
def empty_db(postgres_server: PostgresServer) -> Iterator[str]:
    """The libpq URL of a database with nothing in it."""
    name = f"test_{next(_NUMBERS)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture
def portal_db(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The libpq URL of a fresh portal database with all migrations in."""
    name = f"test_{next(_NUMBERS)}"
    yield postgres_server.create_database(name, template=migrated_template)
    postgres_server.drop_database(name)
