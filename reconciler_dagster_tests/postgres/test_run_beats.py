"""Signs of life of runs on other machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.postgres import run_beats
from reconciler_dagster.postgres.connection import at_once, engine
from reconciler_dagster.processes import this_process
from reconciler_dagster_tests.deployment import eventually

ELSEWHERE = "host-b another-boot/pid:[1] 17 4711"


@pytest.fixture
def portal(portal_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(run_beats, "RUN_BEAT_SECONDS", 0.2)
    own = engine(portal_db)
    yield own
    own.dispose()


def last(portal: Engine, run_id: str = "run") -> run_beats.Beat | None:
    with portal.connect() as connection:
        return run_beats.last(connection, run_id)


def note(portal: Engine, process: str, ago: float = 0) -> None:
    with portal.begin() as connection:
        run_beats.note(connection, "run", process)
        connection.execute(
            text("UPDATE reconciler.run_beat SET seen_at = seen_at - make_interval(secs => :ago)"),
            {"ago": ago},
        )


def test_a_run_gives_signs_for_as_long_as_it_is_at_work(
    portal: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_beats, "SILENT_SECONDS", 3600)
    with run_beats.beating(portal, "run", ELSEWHERE):
        beat = last(portal)
        assert beat is not None
        assert beat.process == ELSEWHERE
        assert not run_beats.is_silent(portal, "run")
    assert last(portal) is None
    assert run_beats.is_silent(portal, "run")


def test_the_signs_go_on_after_postgres_was_away(
    portal: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_beats.beating(portal, "run", ELSEWHERE):
        failed = threading.Event()

        def away(engine: Engine) -> object:
            if failed.is_set():
                return at_once(engine)
            failed.set()
            raise ConfigurationError("away")

        monkeypatch.setattr(run_beats, "at_once", away)
        failed.wait()
        with portal.begin() as connection:
            run_beats.forget(connection, "run")
        eventually(lambda: last(portal))


def test_one_that_has_stopped_is_told_from_one_that_is_between_two_signs(
    portal: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_beats, "SILENT_SECONDS", 1)
    note(portal, ELSEWHERE)
    assert run_beats.is_silent(portal, "run"), "it waited for the next, which did not come"
    note(portal, ELSEWHERE, ago=3600)
    assert run_beats.is_silent(portal, "run")


def test_a_process_of_this_host_that_has_ended_is_known_at_once(portal: Engine) -> None:
    host, place, _, _ = this_process().rsplit(" ", 3)
    note(portal, f"{host} {place} 999999 1", ago=-3600)  # no wait could show it
    assert run_beats.is_silent(portal, "run")


def test_signs_of_runs_that_nobody_took_leave_of_go_after_a_day(portal: Engine) -> None:
    note(portal, ELSEWHERE, ago=2 * 86400)
    with portal.begin() as connection:
        run_beats.forget(connection, "another run")
    assert last(portal) is None
