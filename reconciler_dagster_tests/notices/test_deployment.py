"""A real deployment: its daemon is killed, its schedule stopped, its Postgres gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from reconciler_dagster.notices.dagster import DEAD_AFTER
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.watcher import LOOK_SECONDS
from reconciler_dagster.orchestration.home import dagster_home
from reconciler_dagster.orchestration.submission import LOCATION, MODULE
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster_tests.deployment import Deployment, deployed, eventually
from reconciler_dagster_tests.notices.receivers import Endpoint, Mailbox, endpoint, mailbox
from reconciler_dagster_tests.notices.table import note

pytestmark = pytest.mark.minutes


@dataclass
class Place:
    host: Deployment
    box: Mailbox
    web: Endpoint

    def titles(self) -> list[str]:
        return [subject.removeprefix("[Reconciler] ") for subject in self.box.subjects]

    def told(self, title: str) -> float:
        """Wait for a mail; seconds until it came."""
        began = time.monotonic()
        eventually(lambda: title in self.titles())
        return time.monotonic() - began


@pytest.fixture(scope="module")
def storage() -> Iterator[PostgresServer]:
    """Of Dagster, a server of its own."""
    with TemporaryDirectory(prefix="reconciler-storage-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "postgres")
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def place(storage: PostgresServer) -> Iterator[Place]:
    with (
        endpoint() as web,
        mailbox() as box,
        deployed(
            leads=5,
            DAGSTER_POSTGRES_URL=storage.create_database("dagster"),
            RECONCILER_NOTIFY_SMTP_URL=box.url,
            RECONCILER_NOTIFY_EMAIL_TO="ops@example.com",
            RECONCILER_NOTIFY_HOLD_SECONDS="0",
            RECONCILER_NOTIFY_HEARTBEAT_URL=f"{web.url}/ping",
        ) as host,
    ):
        host.start_daemon()
        host.start_listener()
        eventually(
            lambda: host.sql(
                "SELECT 1 FROM reconciler.dagster_seen WHERE seen -> "
                "'daemons' ? 'SENSOR' AND seen -> 'daemons' ? 'SCHEDULER'"
            )
        )
        yield Place(host, box, web)


def test_two_minutes_are_enough_to_find_a_dead_daemon() -> None:
    """What was promised. The docs' table has the seconds that it took; a busy machine decides no
    test.
    """
    assert DEAD_AFTER.total_seconds() + LOOK_SECONDS < 120


def test_a_killed_daemon_is_told_of(place: Place) -> None:
    title = KINDS["daemon_dead"].happened
    request = place.host.ask()
    eventually(lambda: place.host.state(request) == "succeeded")
    eventually(lambda: place.web.of("/ping"))
    place.host.kill("daemon")
    seconds = place.told(title)
    place.host.start_daemon()
    over = place.told(f"Over: {title}")
    assert place.titles().count(title) == 1
    note("daemon_dead", "the daemon is killed", title, seconds, over)


def test_a_stopped_schedule(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    title = KINDS["schedule_still"].happened
    for name, value in place.host.environment.items():
        monkeypatch.setenv(name, value)
    dagster_home()
    target = ModuleTarget(MODULE, attribute=None, working_directory=None, location_name=LOCATION)
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, target) as context,
    ):
        location = context.create_request_context().code_locations[0]
        (repository,) = location.get_repositories().values()
        assert isinstance(repository, RemoteRepository)
        schedule = repository.get_schedule("every_15_minutes")
        instance.stop_schedule(schedule.get_remote_origin_id(), schedule.selector_id, schedule)
        seconds = place.told(title)
        instance.start_schedule(schedule)
        over = place.told(f"Over: {title}")
    note("schedule_still", "the schedule is stopped", title, seconds, over)


def test_a_killed_listener(place: Place) -> None:
    """Seen by a sensor, for whoever looks best is gone."""
    title = KINDS["listener_silent"].happened
    place.host.kill("listener")
    seconds = place.told(title)
    place.host.start_listener()
    over = place.told(f"Over: {title}")
    assert place.titles().count(title) == 1
    note("listener_silent", "the listener is killed", title, seconds, over)


def test_a_dead_storage_of_dagster(place: Place, storage: PostgresServer) -> None:
    """kill -9 of the server that Dagster keeps its runs in; the portal's goes on."""
    title = KINDS["dagster_storage"].happened
    storage.process.kill()
    storage.process.wait()
    seconds = place.told(title)
    storage.stop()
    storage.start()
    over = place.told(f"Over: {title}")
    assert place.titles().count(title) == 1
    note("dagster_storage", "Dagster's Postgres is killed", title, seconds, over)
    place.host.end("daemon")
    place.host.start_daemon()
    request = place.host.ask()
    eventually(lambda: place.host.state(request) == "succeeded")


def test_a_dead_postgres(place: Place) -> None:
    title = KINDS["postgres_down"].happened
    place.host.postgres.stop()
    seconds = place.told(title)
    place.host.postgres.start()
    over = place.told(f"Over: {title}")
    assert place.titles().count(title) == 1
    note("postgres_down", "Postgres is stopped", title, seconds, over)
